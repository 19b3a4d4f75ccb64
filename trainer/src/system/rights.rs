//! What Unix knows about files besides their content. Elsewhere nothing is known, and nothing is changed.

pub(super) use system::{give, names, owner, permit};

#[cfg(unix)]
mod system {
    use std::fs::{File, Metadata, OpenOptions};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};

    /// How many names a file has.
    pub(in super::super) fn names(file: &File) -> Option<u64> {
        file.metadata().ok().map(|metadata| metadata.nlink())
    }

    /// The user who owns a file.
    pub(in super::super) fn owner(metadata: &Metadata) -> Option<u32> {
        Some(metadata.uid())
    }

    /// Gives a file to the owner of another one. Only root can give files away.
    pub(in super::super) fn give(file: &File, other: &Metadata) {
        let _ = fchown(file, Some(other.uid()), Some(other.gid()));
    }

    /// The rights of a file that these options create, of which the user's mask may take some away.
    pub(in super::super) fn permit(options: &mut OpenOptions, mode: u32) {
        options.mode(mode);
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::{File, Metadata, OpenOptions};

    pub(in super::super) fn names(_: &File) -> Option<u64> {
        None
    }

    pub(in super::super) fn owner(_: &Metadata) -> Option<u32> {
        None
    }

    pub(in super::super) fn give(_: &File, _: &Metadata) {}

    pub(in super::super) fn permit(_: &mut OpenOptions, _: u32) {}
}
