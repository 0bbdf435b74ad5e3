//! The disk as a file system that is mounted: what the kernel asks, in the disk's words. The kernel keeps nothing of it,
//! neither contents nor names, so a program sees what the disk has.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use nix::unistd::{getegid, geteuid};

use crate::disk::{Disk, Inode, Trouble};

/// For how long the kernel may keep what it was told.
const KEPT: Duration = Duration::ZERO;
const ONLY: Generation = Generation(0);
const HANDLE: FileHandle = FileHandle(0);
const BLOCK: u64 = 4096;
/// What the disk says of its size: a gigabyte.
const BLOCKS: u64 = 1 << 18;

/// A disk that is mounted until this is dropped.
pub(crate) struct Mounted {
    disk: Disk,
    /// It unmounts when it is dropped. Its thread is not waited for: a mount namespace that was made meanwhile, by another
    /// test, keeps the file system alive until it ends.
    _session: BackgroundSession,
}

impl Mounted {
    /// Mounts a disk on an empty directory.
    pub(crate) fn on(path: &Path, disk: &Disk) -> Self {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("crash-test".into()), MountOption::NoAtime];
        let session =
            fuser::spawn_mount(Served(disk.clone()), path, &config).expect("/dev/fuse lets root mount");
        Self { disk: disk.clone(), _session: session }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also where a test has failed while a thread waits for the power.
        self.disk.give_up();
    }
}

/// What answers the kernel.
struct Served(Disk);

fn size(number: u64) -> usize {
    usize::try_from(number).expect("usize has 64 bits")
}

fn attributes(number: u64, inode: Option<&Inode>) -> FileAttr {
    let length = inode.map_or(0, |inode| inode.content.len()) as u64;
    FileAttr {
        ino: INodeNo(number),
        size: length,
        blocks: length.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: inode.map_or(FileType::Directory, |inode| inode.kind),
        perm: inode.map_or(0o700, |inode| inode.mode),
        nlink: 1,
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        rdev: 0,
        blksize: u32::try_from(BLOCK).expect("it is small"),
        flags: 0,
    }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("it has 12 bits")
}

impl Served {
    fn attributes_of(&self, number: INodeNo) -> Result<FileAttr, Errno> {
        let mut platter = self.0.look()?;
        if number == INodeNo::ROOT {
            return Ok(attributes(1, None));
        }
        Ok(attributes(number.0, Some(platter.inode(number.0)?)))
    }

    fn create_named(&self, name: &OsStr, kind: FileType, mode: u32) -> Result<FileAttr, Errno> {
        let (mut platter, fails) = self.0.change(Trouble::Write)?;
        if fails {
            return Err(Errno::EIO);
        }
        let number = platter.create(name, kind, permissions(mode));
        Ok(attributes(number, Some(platter.inode(number)?)))
    }
}

/// Answers with what a call came to.
macro_rules! answer {
    ($reply:ident, $outcome:expr, $found:pat => $say:expr) => {
        match $outcome {
            Ok($found) => $say,
            Err(err) => $reply.error(err),
        }
    };
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let find = || {
            let mut platter = self.0.look()?;
            let number = platter.number(name)?;
            Ok(attributes(number, Some(platter.inode(number)?)))
        };
        answer!(reply, find(), found => reply.entry(&KEPT, &found, ONLY));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.attributes_of(number), found => reply.attr(&KEPT, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        length: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = || {
            if number != INodeNo::ROOT {
                if let Some(length) = length {
                    let (mut platter, fails) = self.0.change(Trouble::Write)?;
                    if fails {
                        return Err(Errno::EIO);
                    }
                    platter.inode(number.0)?.content.set_len(size(length));
                }
                if let Some(mode) = mode {
                    self.0.look()?.inode(number.0)?.mode = permissions(mode);
                }
            }
            self.attributes_of(number)
        };
        answer!(reply, set(), found => reply.attr(&KEPT, &found));
    }

    fn mknod(&self, _: &Request, _: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply: ReplyEntry) {
        /// `S_IFMT` and `S_IFSOCK` of stat(2).
        const KIND: u32 = 0o170_000;
        const SOCKET: u32 = 0o140_000;
        let kind = if mode & KIND == SOCKET { FileType::Socket } else { FileType::RegularFile };
        answer!(reply, self.create_named(name, kind, mode & !umask), made => reply.entry(&KEPT, &made, ONLY));
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = self.create_named(name, FileType::RegularFile, mode & !umask);
        answer!(reply, made, made => reply.created(&KEPT, &made, ONLY, HANDLE, FopenFlags::FOPEN_DIRECT_IO));
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let unlink = || {
            let (mut platter, _) = self.0.change(Trouble::Write)?;
            platter.number(name)?;
            platter.rename(vec![(name.to_owned(), None)]);
            Ok(())
        };
        answer!(reply, unlink(), () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            let (mut platter, _) = self.0.change(Trouble::Write)?;
            let number = platter.number(name)?;
            platter.rename(vec![(name.to_owned(), None), (new_name.to_owned(), Some(number))]);
            Ok(())
        };
        answer!(reply, rename(), () => reply.ok());
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.0.look(), _ => reply.opened(HANDLE, FopenFlags::FOPEN_DIRECT_IO));
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            let mut platter = self.0.read()?;
            Ok(platter.inode(number.0)?.content.read(size(offset), size(length.into())).to_vec())
        };
        answer!(reply, read(), data => reply.data(&data));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = || {
            let (mut platter, fails) = self.0.change(Trouble::Write)?;
            platter.write(number.0, size(offset), data, fails)
        };
        let length = u32::try_from(data.len()).expect("the kernel asks for a megabyte at most");
        answer!(reply, write(), () => reply.written(length));
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let allocate = || {
            if mode != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            let (mut platter, fails) = self.0.change(Trouble::Write)?;
            if fails {
                return Err(Errno::EIO);
            }
            platter.allocate(number.0, size(offset), size(length))
        };
        answer!(reply, allocate(), () => reply.ok());
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let sync = || {
            let (mut platter, fails) = self.0.change(Trouble::Sync)?;
            platter.sync(number.0, fails)
        };
        answer!(reply, sync(), () => reply.ok());
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let sync = || {
            let (mut platter, fails) = self.0.change(Trouble::Sync)?;
            platter.sync_names(fails)
        };
        answer!(reply, sync(), () => reply.ok());
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let list = || {
            let platter = self.0.look()?;
            let kind = |number| platter.inodes.get(number).map_or(FileType::RegularFile, |inode| inode.kind);
            let named = platter.names.iter().map(|(name, number)| (*number, kind(number), name.clone()));
            Ok(named.collect::<Vec<_>>())
        };
        match list() {
            Ok(named) => {
                for (at, (number, kind, name)) in named.into_iter().enumerate().skip(size(offset)) {
                    if reply.add(INodeNo(number), at as u64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(err) => reply.error(err),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let block = u32::try_from(BLOCK).expect("it is small");
        reply.statfs(BLOCKS, BLOCKS / 2, BLOCKS / 2, 1 << 20, 1 << 19, block, 255, block);
    }
}
