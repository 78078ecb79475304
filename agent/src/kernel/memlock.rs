//! The limit of locked memory, which maps count against below kernel 5.11.

use std::io;

/// Lifts `RLIMIT_MEMLOCK` as far as this process may: to no limit at all with `CAP_SYS_RESOURCE`, else
/// to the hard limit. From 5.11 on the limit means nothing to maps, so a failure is no error here:
/// where it matters, making a map fails and says so.
pub(super) fn raise() {
    let lifted = set(libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY });
    if lifted.is_err() {
        let raised = get().and_then(|limit| set(libc::rlimit { rlim_cur: limit.rlim_max, ..limit }));
        if let Err(error) = raised {
            tracing::debug!(%error, "RLIMIT_MEMLOCK stays as it is");
        }
    }
}

fn get() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit, which `limit` is, during the call only.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    if result == 0 { Ok(limit) } else { Err(io::Error::last_os_error()) }
}

fn set(limit: libc::rlimit) -> io::Result<()> {
    // SAFETY: the kernel reads one rlimit, which `limit` is, during the call only.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_rises_to_the_hard_one_at_least() {
        let before = get().unwrap();
        set(libc::rlimit { rlim_cur: 0, ..before }).unwrap();
        raise();
        let after = get().unwrap();
        assert_eq!(after.rlim_cur, after.rlim_max);
        assert!(after.rlim_max >= before.rlim_max);
    }
}
