//! Short options that are secrets only for the program they are given to.

/// If a short option makes `argv[index]` (or its end) a secret: how many bytes of it stay.
pub(super) fn secret_start(argv: &[Box<[u8]>], index: usize) -> Option<usize> {
    let argument = argv.get(index)?;
    let before = argv.get(..index)?;
    let wrapped = argv.first().is_some_and(|first| is_one_of(first, WRAPPERS));
    let candidates = if wrapped { before } else { before.get(..1)? };
    let previous = before.last()?;
    for (names, options, form) in PROGRAMS {
        if !candidates.iter().any(|program| is_one_of(program, names)) {
            continue;
        }
        let login = before.iter().any(|argument| **argument == *b"login");
        if candidates.iter().any(|program| is_one_of(program, names) && is_one_of(program, LOGIN)) && !login {
            continue;
        }
        for option in *options {
            let joined = argument.strip_prefix(option.as_bytes()).filter(|rest| !rest.is_empty());
            let next = *form != Form::Joined && **previous == *option.as_bytes();
            let start = match joined {
                // A long option joined is another, longer option unless `=` follows.
                Some(rest) if option.starts_with("--") && rest[0] != b'=' => continue,
                Some(_) => option.len(),
                None if next => 0,
                None => continue,
            };
            if *form != Form::AfterUser {
                return Some(start);
            }
            let colon = argument[start..].iter().position(|byte| *byte == b':');
            if let Some(colon) = colon {
                return Some(start + colon + 1);
            }
        }
    }
    None
}

/// Whether `argv[index]` is what a shell is to run (`sh -c …`, `bash -lc …`).
pub(super) fn is_command_line(argv: &[Box<[u8]>], index: usize) -> bool {
    let Some(before) = argv.get(..index) else { return false };
    let shell = before.iter().any(|program| is_one_of(program, SHELLS));
    let option = before.last().is_some_and(|option| {
        option.starts_with(b"-") && !option.starts_with(b"--") && option.ends_with(b"c")
    });
    shell && option
}

/// Whether the last path component is one of `names`.
fn is_one_of(program: &[u8], names: &[&str]) -> bool {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or(program);
    names.iter().any(|known| known.as_bytes() == name)
}

/// How a program takes a secret by a short option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Only in the same argument: `-pSECRET`.
    Joined,
    /// In the same argument or the next.
    Either,
    /// As [`Self::Either`], after `user:`.
    AfterUser,
}

/// Programs, options, forms.
const PROGRAMS: &[(&[&str], &[&str], Form)] = &[
    (
        &["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump", "7z", "7za"],
        &["-p"],
        Form::Joined,
    ),
    (&["sshpass", "mongo", "mongosh", "mongodump", "mongorestore"], &["-p"], Form::Either),
    (&["docker", "podman", "nerdctl", "helm", "buildah", "skopeo"], &["-p"], Form::Either),
    (&["redis-cli"], &["-a"], Form::Either),
    (&["ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami"], &["-w"], Form::Either),
    (&["sqlcmd", "bcp", "zip", "unzip"], &["-P"], Form::Either),
    (&["curl"], &["-u", "--user", "-U", "--proxy-user"], Form::AfterUser),
];
/// Of these programs `-p` is a password only after `login`; elsewhere it is a port.
const LOGIN: &[&str] = &["docker", "podman", "nerdctl", "helm", "buildah", "skopeo"];
/// Programs that run another one: its name is among their arguments.
const WRAPPERS: &[&str] = &[
    "sudo",
    "doas",
    "env",
    "nohup",
    "nice",
    "ionice",
    "timeout",
    "time",
    "strace",
    "setsid",
    "busybox",
    "docker",
    "podman",
    "nerdctl",
    "kubectl",
    "nsenter",
    "chroot",
    "xargs",
    "watch",
    "unshare",
    "proxychains4",
];
/// Their `-c` argument is a command line, not one value.
const SHELLS: &[&str] =
    &["sh", "bash", "dash", "zsh", "ash", "ksh", "fish", "su", "busybox", "python", "python3"];
