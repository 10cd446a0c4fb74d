//! Large pages for large buffers: a matrix that is read from end to end misses fewer translations.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "advice to the memory manager"))]

/// Bytes of a large page on the machines that have vector kernels; smaller buffers gain nothing.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// Asks for large pages behind the whole pages of a buffer that was not written yet.
///
/// It is advice: a system that does not take it changes nothing but the time that reading takes.
#[cfg(target_os = "linux")]
pub(crate) fn prefer_large(buffer: &mut [u8]) {
    use rustix::mm::{Advice, madvise};
    let start = buffer.as_mut_ptr().align_offset(LARGE_PAGE);
    let Some(len) = buffer.len().checked_sub(start) else { return };
    let len = len / LARGE_PAGE * LARGE_PAGE;
    if len > 0 {
        let whole = &mut buffer[start..start + len];
        // SAFETY: the range lies within a buffer that is borrowed alone, and this advice keeps its
        // contents.
        let _ = unsafe { madvise(whole.as_mut_ptr().cast(), len, Advice::LinuxHugepage) };
    }
}

/// Other systems choose by themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn prefer_large(_buffer: &mut [u8]) {}
