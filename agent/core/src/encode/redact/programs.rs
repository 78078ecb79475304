//! Short options that are secrets only for the program they are given to.

/// What of the arguments before one matters for it. Told each argument in turn, so that a command line costs
/// as much as it is long.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    /// The argument just before.
    pub(super) previous: Option<&'a [u8]>,
    /// The first one runs another program, whose name is among the arguments.
    wrapped: bool,
    /// Rows of [`PROGRAMS`] that a program named so far is of.
    programs: u8,
    /// A shell was named.
    shell: bool,
    /// `login` was said.
    login: bool,
}

impl<'a> Place<'a> {
    /// The place after `argument`.
    pub(super) fn pass(&mut self, argument: &'a [u8]) {
        let role = role(argument);
        if self.previous.is_none() {
            self.wrapped = role.wraps;
            self.programs = role.programs;
        } else if self.wrapped {
            self.programs |= role.programs;
        }
        self.shell |= role.shell;
        self.login |= argument == b"login";
        self.previous = Some(argument);
    }

    /// Whether an argument may be a secret for what stands before it.
    pub(super) fn is_special(&self) -> bool {
        self.wrapped || self.programs != 0
    }

    /// If a short option makes `argument` (or its end) a secret: how many bytes of it stay.
    pub(super) fn secret_start(&self, argument: &[u8]) -> Option<usize> {
        let previous = self.previous?;
        for (row, Program { options, form, after_login, .. }) in PROGRAMS.iter().enumerate() {
            if self.programs & 1 << row == 0 || (*after_login && !self.login) {
                continue;
            }
            for option in *options {
                let joined = argument.strip_prefix(option.as_bytes()).filter(|rest| !rest.is_empty());
                let next = *form != Form::Joined && previous == option.as_bytes();
                let start = match joined {
                    // A long option joined is another, longer option unless `=` follows.
                    Some(rest) if option.starts_with("--") && !rest.starts_with(b"=") => continue,
                    Some(_) => option.len(),
                    None if next => 0,
                    None => continue,
                };
                if *form != Form::AfterUser {
                    return Some(start);
                }
                let colon = argument.iter().skip(start).position(|byte| *byte == b':');
                if let Some(colon) = colon {
                    return Some(start + colon + 1);
                }
            }
        }
        None
    }

    /// Whether the next argument is what a shell is to run (`sh -c …`, `bash -lc …`).
    pub(super) fn is_command_line(&self) -> bool {
        let option = self.previous.is_some_and(|option| {
            option.starts_with(b"-") && !option.starts_with(b"--") && option.ends_with(b"c")
        });
        self.shell && option
    }
}

/// What a program is here, by the last component of its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Role {
    programs: u8,
    wraps: bool,
    shell: bool,
}

/// Most bytes of a name.
const LONGEST: usize = 16;

fn role(program: &[u8]) -> Role {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or(program);
    let mut role = Role::default();
    if name.len() > LONGEST {
        return role;
    }
    let is_one_of = |names: &[&str]| names.iter().any(|known| known.as_bytes() == name);
    for (row, program) in PROGRAMS.iter().enumerate() {
        role.programs |= u8::from(is_one_of(program.names)) << row;
    }
    role.wraps = is_one_of(WRAPPERS);
    role.shell = is_one_of(SHELLS);
    role
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

/// Programs that take a secret in the same way.
struct Program {
    names: &'static [&'static str],
    options: &'static [&'static str],
    form: Form,
    /// Only after the word `login`: elsewhere the option is another (a port).
    after_login: bool,
}

const PROGRAMS: &[Program] = &[
    Program {
        names: &["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump", "7z", "7za"],
        options: &["-p"],
        form: Form::Joined,
        after_login: false,
    },
    Program {
        names: &["sshpass", "mongo", "mongosh", "mongodump", "mongorestore"],
        options: &["-p"],
        form: Form::Either,
        after_login: false,
    },
    Program {
        names: &["docker", "podman", "nerdctl", "helm", "buildah", "skopeo"],
        options: &["-p"],
        form: Form::Either,
        after_login: true,
    },
    Program { names: &["redis-cli"], options: &["-a"], form: Form::Either, after_login: false },
    Program {
        names: &["ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami"],
        options: &["-w"],
        form: Form::Either,
        after_login: false,
    },
    Program {
        names: &["sqlcmd", "bcp", "zip", "unzip"],
        options: &["-P"],
        form: Form::Either,
        after_login: false,
    },
    Program {
        names: &["curl"],
        options: &["-u", "--user", "-U", "--proxy-user"],
        form: Form::AfterUser,
        after_login: false,
    },
];
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

/// The same by looking at all that stands before.
#[cfg(test)]
pub(super) mod naive {
    use super::{Form, PROGRAMS, SHELLS, WRAPPERS};

    pub(in super::super) fn secret_start(argv: &[&[u8]], index: usize) -> Option<usize> {
        let (argument, before) = (argv[index], &argv[..index]);
        let (first, previous) = (before.first()?, before.last()?);
        let candidates = if is_one_of(first, WRAPPERS) { before } else { &before[..1] };
        let applies = |program: &&super::Program| {
            candidates.iter().any(|candidate| is_one_of(candidate, program.names))
                && (!program.after_login || before.contains(&&b"login"[..]))
        };
        let of_option = |option: &str, form: Form| {
            let joined = argument.strip_prefix(option.as_bytes()).filter(|rest| !rest.is_empty());
            let start = match joined {
                Some(rest) => (!option.starts_with("--") || rest[0] == b'=').then_some(option.len())?,
                None => (form != Form::Joined && *previous == option.as_bytes()).then_some(0)?,
            };
            let colon =
                || argument[start..].iter().position(|byte| *byte == b':').map(|colon| start + colon + 1);
            if form == Form::AfterUser { colon() } else { Some(start) }
        };
        PROGRAMS
            .iter()
            .filter(applies)
            .find_map(|program| program.options.iter().find_map(|option| of_option(option, program.form)))
    }

    pub(in super::super) fn is_command_line(argv: &[&[u8]], index: usize) -> bool {
        let before = &argv[..index];
        let shell = before.iter().any(|program| is_one_of(program, SHELLS));
        shell
            && before.last().is_some_and(|option| {
                option.starts_with(b"-") && !option.starts_with(b"--") && option.ends_with(b"c")
            })
    }

    fn is_one_of(program: &[u8], names: &[&str]) -> bool {
        let name = program.rsplit(|byte| *byte == b'/').next().unwrap();
        names.iter().any(|known| known.as_bytes() == name)
    }
}
