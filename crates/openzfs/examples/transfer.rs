//! `transfer SOURCE@SNAPSHOT TARGET`: a whole transfer in one call, with its progress.

use std::error::Error;
use std::thread;
use std::time::Duration;

use openzfs::{
    Cancel, DatasetName, Gauges, Libzfs, Lzc, Progress, SendRequest, SnapshotName, Transfer,
    kernel_properties,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [source, target] = &arguments[..] else {
        return Err("transfer SOURCE@SNAPSHOT TARGET".into());
    };
    let (libzfs, lzc) = (Libzfs::open()?, Lzc::open()?);
    let source = SnapshotName::new(source)?;
    let target = DatasetName::new(target)?.snapshot(source.short())?;
    let send = SendRequest::full(source);
    let estimated_bytes = lzc.send_space(&send)?;
    let (progress, cancel) = (Progress::default(), Cancel::default());

    let received = thread::scope(|scope| {
        let transfer = scope.spawn(|| {
            let properties = kernel_properties([("readonly", "on"), ("canmount", "noauto")])?;
            let transfer = Transfer {
                send,
                target,
                properties: &properties,
                force: false,
                resumable: true,
                estimated_bytes: Some(estimated_bytes),
                takes: &|_feature| true,
            };
            // `cancel.request()` in another thread would interrupt it.
            Ok::<_, Box<dyn Error + Send + Sync>>(lzc.transfer(&transfer, &[&cancel], &progress)?)
        });
        let mut gauges = Gauges::new(&libzfs);
        while !transfer.is_finished() {
            for (snapshot, sent_bytes) in progress.sent_bytes(&mut gauges) {
                eprintln!("{snapshot}: {sent_bytes} of about {estimated_bytes} bytes");
            }
            thread::sleep(Duration::from_millis(200));
        }
        transfer.join().expect("no panic")
    });
    let received = received.map_err(|error| -> Box<dyn Error> { error })?;
    println!("{} bytes, guid {}", received.read_bytes, received.guid);
    Ok(())
}
