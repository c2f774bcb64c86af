//! The lower bound of the benchmark: the ioctls of a backup with nothing around them.
//!
//! `bare NEW BASE|- PARALLEL PIPE_MIB SOURCE=TARGET…` takes the snapshot `@NEW` of every source in
//! one call and sends each into its target, as an increment from `@BASE` where one is named.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use openzfs::{
    BeginRecord, Lzc, NvList, ReceiveRequest, SendBase, SendFlags, SendRequest, SnapshotName,
};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [new, base, parallel, pipe_mib, pairs @ ..] = arguments.as_slice() else {
        return Err("bare NEW BASE|- PARALLEL PIPE_MIB SOURCE=TARGET…".into());
    };
    let pairs: Option<Vec<_>> = pairs.iter().map(|pair| pair.split_once('=')).collect();
    let pairs = pairs.ok_or("a volume is SOURCE=TARGET")?;
    let pipe_bytes = pipe_mib.parse::<i32>()? << 20;

    let lzc = Lzc::open()?;
    let names = pairs.iter().map(|(source, _)| snapshot(source, new));
    lzc.snapshot(&names.collect::<Result<Vec<_>, _>>()?, &BTreeMap::new())?;
    let queue = Mutex::new(pairs.iter());
    thread::scope(|scope| {
        let worker = || -> Result<(), Failure> {
            loop {
                let Some((source, target)) = queue.lock().expect("nobody panics").next() else {
                    return Ok(());
                };
                transfer(lzc, (source, target), new, base, pipe_bytes)?;
            }
        };
        let workers: Vec<_> = (0..parallel.parse()?)
            .map(|_| scope.spawn(worker))
            .collect();
        let mut results = workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"));
        results.find(Result::is_err).unwrap_or(Ok(()))
    })
}

fn transfer(
    lzc: Lzc,
    pair: (&str, &str),
    new: &str,
    base: &str,
    pipe_bytes: i32,
) -> Result<(), Failure> {
    let is_full = base == "-";
    let base = (!is_full).then(|| snapshot(pair.0, base)).transpose()?;
    let request = SendRequest {
        snapshot: snapshot(pair.0, new)?,
        from: base.map(SendBase::Snapshot),
        flags: SendFlags {
            large_blocks: true,
            embedded: true,
            compressed: true,
            raw: false,
        },
        resume: None,
    };
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(pipe_bytes))?;
    thread::scope(|scope| {
        let sender = scope.spawn(move || lzc.send(&request, writer.as_fd()));
        let begin = BeginRecord::read_from(reader.as_fd())?;
        let arriving = ReceiveRequest {
            snapshot: snapshot(pair.1, new)?,
            begin: &begin,
            properties: &NvList::new(),
            origin: None,
            force: false,
            // A small stream is sent again rather than gone on with.
            resumable: is_full,
        };
        let received = lzc.receive(&arriving, reader.as_fd());
        drop(reader); // where the receive failed, this ends the send
        let sent = sender.join().expect("the sender does not panic");
        received?;
        Ok(sent?)
    })
}

fn snapshot(dataset: &str, short: &str) -> Result<SnapshotName, Failure> {
    Ok(SnapshotName::new(&format!("{dataset}@{short}"))?)
}
