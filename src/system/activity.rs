//! How often a dataset was written to, as the kernel counts it.
//!
//! Sizes do not tell whether anything was written: a file that replaces another, or fits into an
//! existing block, leaves them as they were.

use std::collections::BTreeMap;
use std::io;

use openzfs::PoolName;

use super::statistics::{self, Statistics};
use crate::model::Activity;

/// The datasets of `pool` that can be written to now: mounted somewhere, in any namespace, or a zvol
/// with a device. By [`openzfs::Dataset::objset`], since a name may now belong to another dataset.
pub fn of_pool(pool: &PoolName) -> io::Result<BTreeMap<u64, Activity>> {
    let statistics = statistics::of_pool(pool)?.into_iter();
    Ok(statistics
        .filter_map(|(objset, one)| Some((objset, activity(&one)?)))
        .collect())
}

fn activity(statistics: &Statistics) -> Option<Activity> {
    let number = |name: &str| statistics.value(name)?.parse().ok();
    Some(Activity {
        writes: number("writes")?,
        written_bytes: number("nwritten")?,
        unlinked: number("nunlinked").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text = "28 1 0x01 7 2160 5214787391 73405258558961\n\
                    name                            type data\n\
                    dataset_name                    7    tank/my home\n\
                    writes                          4    409\n\
                    nwritten                        4    2048\n\
                    reads                           4    7\n\
                    nread                           4    9\n\
                    nunlinks                        4    3\n\
                    nunlinked                       4    2\n";
        let expected = Activity {
            writes: 409,
            written_bytes: 2048,
            unlinked: 2,
        };
        let parse = |text| activity(&Statistics::of(text));
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("name type data\n"), None);
    }
}
