//! Large files that no compression makes smaller, quickly.

use std::fs::File;
use std::io::{Read, Write};

const MEBIBYTE: usize = 1 << 20;

/// Writes a file of this size: one mebibyte of random data over and over, each time with another number in
/// front. An emulated processor takes three times as long for as much of `/dev/urandom`.
pub fn noise(path: &str, mebibytes: u64) {
    let mut block = vec![0; MEBIBYTE];
    let mut random = File::open("/dev/urandom").expect("random data");
    random.read_exact(&mut block).expect("random data");
    let mut file = File::create(path).expect("a new file");
    for number in 0..mebibytes {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).expect("room for the file");
    }
}
