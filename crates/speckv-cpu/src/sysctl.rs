//! Numbers that the kernel of macOS states by name.

use std::ffi::CStr;

/// The value of `name`, an integer of four or eight bytes; `None` if the system does not have it.
pub(crate) fn number(name: &CStr) -> Option<u64> {
    let mut value = [0u8; 8];
    let mut size = value.len();
    // SAFETY: `name` is a C string, `value` has room for the `size` bytes that are stated, and
    // nothing is set.
    let status = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            &raw mut size,
            std::ptr::null_mut(),
            0,
        )
    };
    match (status, size) {
        // Both processors of Macs put the low byte first, and the rest is still zero.
        (0, 4 | 8) => Some(u64::from_le_bytes(value)),
        _ => None,
    }
}
