use std::{fs::Metadata, os::unix::fs::MetadataExt as _};

use serde::{Deserialize, Serialize};

/// What an upload needs to go on after an interruption. The caller keeps it,
/// as JSON, wherever the next attempt finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadState {
    /// The whole key in the bucket.
    pub key: String,
    /// The store's name of the begun upload.
    pub upload_id: String,
    /// The file that is copied.
    pub source: Source,
    /// The file whose bytes go over: the source, or what it was encrypted to,
    /// which is never the same twice.
    pub sent: Source,
    /// Bytes that go over: more than the source's own when encrypted.
    pub total_bytes: u64,
    /// Of each part but the last.
    pub part_bytes: u64,
    /// The store's names of the parts that are there, from the first on.
    pub parts: Vec<String>,
}

impl UploadState {
    /// Bytes that are there.
    pub fn done_bytes(&self) -> u64 {
        self.total_bytes
            .min(self.part_bytes * self.parts.len() as u64)
    }

    pub(super) fn parts_in_all(&self) -> u64 {
        self.total_bytes.div_ceil(self.part_bytes.max(1))
    }
}

/// Which file it was: parts of one file never continue with another's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    pub bytes: u64,
    pub inode: u64,
    pub modified_ns: i128,
}

impl Source {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000
                + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// What a part holds unless the file is so large that it would need too many.
pub(super) const PART_BYTES: u64 = 8 << 20;
/// S3 takes 10,000 of them.
const PARTS_MAX: u64 = 9_000;

pub(super) fn part_bytes(total: u64) -> u64 {
    total.div_ceil(PARTS_MAX).max(PART_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_the_file_and_never_are_too_many() {
        const GIB: u64 = 1 << 30;
        assert_eq!(part_bytes(0), PART_BYTES);
        assert_eq!(part_bytes(GIB), PART_BYTES);
        for total in [70 * GIB, 5_000 * GIB] {
            assert!(total.div_ceil(part_bytes(total)) <= PARTS_MAX);
        }
    }

    #[test]
    fn a_state_survives_as_json_and_knows_how_far_it_is() {
        let mut state = UploadState {
            total_bytes: 20 << 20,
            part_bytes: PART_BYTES,
            ..UploadState::default()
        };
        assert_eq!((state.parts_in_all(), state.done_bytes()), (3, 0));
        state.source.modified_ns = i128::from(i64::MAX);
        state.parts = vec!["a".into(), "b".into(), "c".into()];
        assert_eq!(state.done_bytes(), 20 << 20);
        let json = serde_json::to_value(&state).unwrap();
        assert_eq!(serde_json::from_value::<UploadState>(json).unwrap(), state);
    }
}
