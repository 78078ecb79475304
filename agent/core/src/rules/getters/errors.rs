//! Names of errors and signals.

/// Words as a list of strings.
macro_rules! names {
    ($($name:tt)+) => { [$(stringify!($name)),+] };
}

/// Names of errors (include/uapi/asm-generic/errno-base.h, errno.h), by number; `_` is a number without one.
const ERRORS: [&str; 134] = names! {
    _ EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY
    EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK
    EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP _ ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT
    EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT _ EBFONT ENOSTR ENODATA
    ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW
    ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK
    EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT
    EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS
    EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS
    ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED
    EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON
};

/// Names of errors that are the kernel's own (include/linux/errno.h), from 512 on: a call that is made again has them.
const OWN_ERRORS: [&str; 5] =
    names! { ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK };

/// Names of signals on x86-64 (signal(7)), by number.
const SIGNALS: [&str; 32] = names! {
    _ SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM
    SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM
    SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS
};

/// The name of what a call that failed returned; none: it has no name, or nothing failed.
pub(in crate::rules) fn error(ret: i64) -> Option<&'static str> {
    let number = usize::try_from(ret.checked_neg()?).ok()?;
    let name = ERRORS.get(number).or_else(|| OWN_ERRORS.get(number.checked_sub(512)?));
    name.copied().filter(|name| *name != "_")
}

/// What a call returned of which this is told.
pub(in crate::rules) fn number(name: &str) -> Option<i64> {
    let last = -512 - OWN_ERRORS.len() as i64;
    let named = (last..0).find(|ret| error(*ret) == Some(name));
    // One without a name is told in digits.
    named.or_else(|| name.parse().ok())
}

/// The name of a signal.
pub(super) fn signal(number: u64) -> Option<&'static str> {
    let name = SIGNALS.get(usize::try_from(number).ok()?);
    name.copied().filter(|name| *name != "_")
}

#[test]
fn numbers_have_their_names() {
    for (ret, name) in [
        (-1, Some("EPERM")),
        (-2, Some("ENOENT")),
        (-13, Some("EACCES")),
        (-36, Some("ENAMETOOLONG")),
        (-115, Some("EINPROGRESS")),
        (-111, Some("ECONNREFUSED")),
        (-133, Some("EHWPOISON")),
        (-512, Some("ERESTARTSYS")),
        (-516, Some("ERESTART_RESTARTBLOCK")),
        (-41, None),
        (-134, None),
        (0, None),
        (5, None),
        (i64::MIN, None),
    ] {
        assert_eq!(error(ret), name, "{ret}");
    }
    assert_eq!((signal(9), signal(15), signal(31)), (Some("SIGKILL"), Some("SIGTERM"), Some("SIGSYS")));
    assert_eq!((signal(0), signal(64)), (None, None));
}
