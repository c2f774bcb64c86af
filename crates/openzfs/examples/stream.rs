//! `stream send SNAPSHOT | …` and `… | stream receive SNAPSHOT`: a stream through a descriptor that
//! comes from elsewhere.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;

use openzfs::{BeginRecord, Lzc, NvList, ReceiveRequest, SendRequest, SnapshotName};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [verb, name] = &arguments[..] else {
        return Err("stream send|receive SNAPSHOT".into());
    };
    let (lzc, snapshot) = (Lzc::open()?, SnapshotName::new(name)?);
    if verb == "send" {
        lzc.send(&SendRequest::full(snapshot), io::stdout().as_fd())?;
        return Ok(());
    }
    let stream = io::stdin();
    let begin = BeginRecord::read_from(stream.as_fd())?;
    let request = ReceiveRequest {
        snapshot,
        begin: &begin,
        properties: &NvList::new(),
        origin: None,
        force: false,
        resumable: true,
    };
    let received = lzc.receive(&request, stream.as_fd())?;
    println!("{} bytes", received.read_bytes);
    Ok(())
}
