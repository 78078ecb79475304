//! The terminal's end.

/// Blocks until nobody holds the other end of the terminal on standard input any more.
///
/// The kernel sends SIGHUP then, which ends a process as a rule; one that was started with SIGHUP ignored (by
/// `nohup`, or from a script in the background) would read an end of file without end.
pub fn wait_hangup() {
    let mut stdin = libc::pollfd { fd: 0, events: 0, revents: 0 };
    loop {
        // SAFETY: one descriptor to look at, valid during the call. Hang-ups and errors are always told.
        let ready = unsafe { libc::poll(&raw mut stdin, 1, -1) };
        let interrupted = || std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
        if ready > 0 || !interrupted() {
            return;
        }
    }
}
