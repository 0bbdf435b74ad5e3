//! Extended attributes: access control lists, labels, and what else a file has beside its mode.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The attribute in which Linux keeps an access control list (acl(5)).
const ACL: &CStr = c"system.posix_acl_access";
/// Those which say something of the content, and which the kernel itself drops or makes anew when that changes.
const OF_THE_CONTENT: [&CStr; 3] = [c"security.capability", c"security.evm", c"security.ima"];
/// Most bytes of a value, and of a list of names (xattr(7)).
const MAX_BYTES: usize = 65_536;

/// Gives `to` the attributes of `from`.
///
/// # Errors
/// An access control list could not be set: without it, users that it shuts out could read the file. What else cannot be
/// set is logged.
pub(super) fn copy(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let kept = names(from)?;
    // A new file may have got a list from its directory.
    for name in names(to)?.iter().filter(|name| name.as_c_str() == ACL && !kept.contains(name)) {
        fremovexattr(to, name.as_c_str())?;
    }
    for name in kept.iter().filter(|name| !OF_THE_CONTENT.contains(&name.as_c_str())) {
        let set =
            value(from, name).and_then(|value| fsetxattr(to, name.as_c_str(), &value, XattrFlags::empty()));
        match set {
            Err(error) if name.as_c_str() == ACL => return Err(error),
            Err(error) => log::warn!("the attribute {} is not carried over: {error}", name.to_string_lossy()),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn names(file: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut list = vec![0_u8; MAX_BYTES];
    let length = match flistxattr(file, &mut list[..]) {
        // The file system has none.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
        length => length?,
    };
    let names = list[..length].split_inclusive(|b| *b == 0);
    Ok(names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()).map(CStr::to_owned).collect())
}

fn value(file: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0_u8; MAX_BYTES];
    let length = fgetxattr(file, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}
