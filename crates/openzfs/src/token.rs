//! Resume tokens: where an interrupted receive can be resumed.

use super::error::{Error, ErrorKind};
use super::handle::{Libzfs, Session};
use super::nvlist::{NvList, NvListRef, c_text};
use crate::ffi;
use crate::name::Guid;
use crate::snapshot::ResumeState;

const CALL: &str = "zfs_send_resume_token_to_nvlist";

impl Libzfs {
    /// Reads a dataset's `receive_resume_token`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the token is damaged or of an unknown version.
    #[doc(alias = "zfs_send_resume_token_to_nvlist")]
    pub fn decode_resume_token(&self, token: &str) -> Result<ResumeState, Error> {
        // On failure libzfs leaves a description without a number, which the handle's next error
        // would show. So this uses a handle of its own.
        let session = Session::open()?;
        let c_token = c_text(CALL, token)?;
        // SAFETY: the handle is open and the token ends in NUL; the list is ours to free.
        let list = unsafe {
            NvList::from_raw(ffi::zfs_send_resume_token_to_nvlist(
                session.as_ptr(),
                c_token.as_ptr(),
            ))
        };
        let Some(list) = list else {
            let description = session.last_error(CALL, "resume token").description;
            return Err(bad_token(token, &description));
        };
        resume_state(token, list.view())
    }
}

fn resume_state(token: &str, list: NvListRef<'_>) -> Result<ResumeState, Error> {
    let number = |name: &str| {
        list.lookup_u64(name)
            .ok_or_else(|| bad_token(token, &format!("it lacks {name:?}")))
    };
    let to_name = list
        .lookup_text("toname")
        .ok_or_else(|| bad_token(token, "it lacks \"toname\""))?;
    Ok(ResumeState {
        token: token.into(),
        to_name: to_name.into_owned(),
        to_guid: Guid(number("toguid")?),
        from_guid: list
            .lookup_u64("fromguid")
            .filter(|&guid| guid != 0)
            .map(Guid),
        object: number("object")?,
        offset: number("offset")?,
        received_bytes: number("bytes")?,
        large_blocks: list.contains("largeblockok"),
        embedded: list.contains("embedok"),
        compressed: list.contains("compressok"),
        raw: list.contains("rawok"),
    })
}

fn bad_token(token: &str, reason: &str) -> Error {
    let start: String = token.chars().take(20).collect();
    Error::found(
        CALL,
        format!("resume token {start}…"),
        ErrorKind::Invalid,
        reason,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> NvList {
        let mut list = NvList::new();
        list.add_text("toname", "tank/home@x").unwrap();
        for (name, number) in [
            ("toguid", 11),
            ("object", 3),
            ("offset", 131_072),
            ("bytes", 400),
        ] {
            list.add_u64(name, number).unwrap();
        }
        list
    }

    #[test]
    fn a_full_stream_has_no_base() {
        let state = resume_state("1-abc", full().view()).unwrap();
        assert_eq!((state.to_guid, state.from_guid), (Guid(11), None));
        assert_eq!(
            (state.object, state.offset, state.received_bytes),
            (3, 131_072, 400)
        );
        assert!(!state.raw && !state.large_blocks && !state.embedded && !state.compressed);
    }

    #[test]
    fn flags_are_there_or_not() {
        let mut list = full();
        list.add_u64("fromguid", 7).unwrap();
        for flag in ["largeblockok", "compressok"] {
            list.add_flag(flag).unwrap();
        }
        let state = resume_state("1-abc", list.view()).unwrap();
        assert_eq!(state.from_guid, Some(Guid(7)));
        assert!(state.large_blocks && state.compressed && !state.embedded && !state.raw);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut list = NvList::new();
        list.add_text("toname", "tank/home@x").unwrap();
        let error = resume_state("1-abc", list.view()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.to_string().contains("it lacks \"toguid\""), "{error}");
        assert!(resume_state("1-abc", NvList::new().view()).is_err());
    }
}
