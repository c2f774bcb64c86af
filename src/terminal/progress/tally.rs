//! Adds up how much all transfers of a run have sent and will send.

use std::collections::BTreeMap;

use crate::model::VolumePath;

/// Bytes of a whole run. Volume by volume, estimates are replaced by what was really sent.
#[derive(Debug, Default)]
pub(super) struct Tally {
    volumes: usize,
    finished: usize,
    /// Estimates of what has not started yet.
    waiting_bytes: u64,
    /// Sent by finished volumes.
    finished_bytes: u64,
    running: BTreeMap<VolumePath, Running>,
    /// Tenths of the total that were already told.
    told_tenths: u64,
}

/// A running volume. It may need several streams, one after the other.
#[derive(Debug, Default)]
#[allow(clippy::struct_field_names)] // the unit is the last word
struct Running {
    /// Sent by the streams before this one.
    earlier_bytes: u64,
    /// Sent by this stream.
    sent_bytes: u64,
    /// Expected size of this stream.
    estimated_bytes: u64,
}

impl Running {
    fn total_bytes(&self) -> u64 {
        self.earlier_bytes.saturating_add(self.sent_bytes)
    }

    fn expected_bytes(&self) -> u64 {
        let stream_bytes = self.estimated_bytes.max(self.sent_bytes);
        self.earlier_bytes.saturating_add(stream_bytes)
    }
}

impl Tally {
    pub fn new(volumes: usize, estimated_bytes: u64) -> Self {
        Self {
            volumes,
            waiting_bytes: estimated_bytes,
            ..Self::default()
        }
    }

    /// Notes that a stream of `volume` starts.
    pub fn start(&mut self, volume: &VolumePath, estimated_bytes: Option<u64>) {
        let estimated_bytes = estimated_bytes.unwrap_or_default();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(estimated_bytes);
        let running = self.running.entry(volume.clone()).or_default();
        running.earlier_bytes = running.total_bytes();
        running.sent_bytes = 0;
        running.estimated_bytes = estimated_bytes;
    }

    /// Notes that the stream of `volume` has sent this much. Returns the tenths of the run that are
    /// reached, if that is news.
    pub fn advance(&mut self, volume: &VolumePath, sent_bytes: u64) -> Option<u64> {
        self.running.entry(volume.clone()).or_default().sent_bytes = sent_bytes;
        let expected_bytes = u128::from(self.expected_bytes().max(1));
        let tenths = u128::from(self.sent_bytes()) * 10 / expected_bytes;
        let tenths = u64::try_from(tenths).unwrap_or(10);
        // The last tenth is told by the table.
        let is_news = tenths > self.told_tenths && tenths < 10;
        self.told_tenths = self.told_tenths.max(tenths);
        is_news.then_some(tenths)
    }

    /// Notes that `volume` is finished and has sent this much in all its streams.
    pub fn finish(&mut self, volume: &VolumePath, sent_bytes: u64) {
        self.running.remove(volume);
        self.finished += 1;
        self.finished_bytes = self.finished_bytes.saturating_add(sent_bytes);
    }

    pub fn volumes(&self) -> usize {
        self.volumes
    }

    pub fn finished(&self) -> usize {
        self.finished
    }

    /// Bytes sent by all volumes so far.
    pub fn sent_bytes(&self) -> u64 {
        let running = self.running.values().map(Running::total_bytes);
        running.fold(self.finished_bytes, u64::saturating_add)
    }

    /// Bytes sent and still to be sent, as far as is known.
    pub fn expected_bytes(&self) -> u64 {
        let running = self.running.values().map(Running::expected_bytes);
        let known_bytes = self.finished_bytes.saturating_add(self.waiting_bytes);
        running.fold(known_bytes, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str) -> VolumePath {
        VolumePath::new(name).unwrap()
    }

    #[test]
    fn estimates_give_way_to_what_was_sent() {
        let mut tally = Tally::new(2, 300);
        tally.start(&volume("a"), Some(100));
        tally.advance(&volume("a"), 130);
        assert_eq!((tally.sent_bytes(), tally.expected_bytes()), (130, 330));
        tally.finish(&volume("a"), 140);
        assert_eq!((tally.sent_bytes(), tally.expected_bytes()), (140, 340));
        tally.start(&volume("b"), Some(200));
        tally.finish(&volume("b"), 0);
        assert_eq!((tally.sent_bytes(), tally.expected_bytes()), (140, 140));
        assert_eq!(tally.finished(), 2);
    }

    #[test]
    fn the_streams_of_a_volume_add_up() {
        let mut tally = Tally::new(1, 100);
        tally.start(&volume("a"), Some(40));
        tally.advance(&volume("a"), 40);
        tally.start(&volume("a"), Some(60));
        tally.advance(&volume("a"), 10);
        assert_eq!((tally.sent_bytes(), tally.expected_bytes()), (50, 100));
    }

    #[test]
    fn each_tenth_is_news_once() {
        let mut tally = Tally::new(1, 100);
        tally.start(&volume("a"), Some(100));
        let news: Vec<_> = [5, 12, 15, 47, 40, 100]
            .map(|sent_bytes| tally.advance(&volume("a"), sent_bytes))
            .into();
        assert_eq!(news, [None, Some(1), None, Some(4), None, None]);
    }
}
