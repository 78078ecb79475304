//! Secrets in arguments, hidden before they leave the process.
//!
//! An argument is looked at in its place (the flag before it, the program it belongs to) and then by
//! pattern anywhere in its text: `sh -c` carries whole command lines in one argument. What is hidden
//! becomes [`MARK`]; names, users and hosts stay readable. Where a name leaves doubt it is hidden.

use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// What stands where a secret was.
pub const MARK: &str = "[REDACTED]";

/// Whether and what to hide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactConfig {
    /// Off: arguments leave as they are.
    pub enabled: bool,
    /// Further regular expressions. With a capture group, what group 1 matched is hidden; without,
    /// the whole match.
    pub patterns: Vec<String>,
}

impl Default for RedactConfig {
    fn default() -> Self {
        Self { enabled: true, patterns: Vec::new() }
    }
}

/// A pattern that is not a regular expression.
#[derive(Debug, thiserror::Error)]
#[error("redaction pattern {pattern:?} is not usable: {source}")]
pub struct RedactError {
    /// As configured.
    pub pattern: String,
    /// What is wrong with it.
    pub source: regex::Error,
}

/// What is hidden by default, for people: name and description.
pub const DEFAULTS: &[(&str, &str)] = &[
    (
        "flag",
        "the value of a flag or variable named like a secret: --db-password=…, --token …, DB_PASSWORD=…, -Ddb.secret=…; also within a shell command line, a query string or JSON",
    ),
    (
        "program",
        "short options that are secrets for their program: mysql -p…, sshpass -p …, redis-cli -a …, curl -u user:…, docker login -p …, ldapsearch -w …, sqlcmd -P …, zip -P …, 7z -p…",
    ),
    ("url", "the password in scheme://user:…@host, and a long token in https://…@host"),
    ("header", "the value of Authorization, Cookie and X-…-(Key|Token|Secret|Auth) headers, and of Bearer"),
    ("openssl", "openssl pass:… arguments"),
    ("aws", "AWS access key ids (AKIA…, ASIA…)"),
    ("jwt", "JSON Web Tokens (eyJ….….…)"),
    (
        "vendor",
        "tokens with a known prefix: GitHub (ghp_…, github_pat_…), GitLab (glpat-…), Slack (xoxb-…), Stripe (sk_live_…), OpenAI (sk-…), Vault (hvs.…), npm (npm_…), PyPI (pypi-…), Google (AIza…)",
    ),
    ("private key", "PEM private keys"),
];

/// A name that holds a secret: its last word says so. `password_file` and `token-ttl` do not.
const NAME: &str = r"(?:[a-z0-9_.-]*(?:password|passwd|passphrase|passcode|sshpass|secret|token|credentials?|(?:api|access|secret|account|storage|encryption|master|auth|signing|license|shared)[_.-]?key)|(?:[a-z0-9_.-]*[_.-])?pass|[a-z0-9_.-]*[_.-](?:pwd|auth))";
/// A value within a text: quoted, or up to what ends a word.
const VALUE: &str = r#"(?:"[^"]*"|'[^']*'|\\"[^"]*\\"|[^\s"'&;,|)}]+)"#;

/// The patterns that apply anywhere in an argument; group 1 stays, the rest is hidden, and group 2,
/// if there is one, follows. `NAME` and `VALUE` stand for the constants above.
const PATTERNS: &[&str] = &[
    r#"(?i)((?:authorization)\\?["']?\s*[:=]\s*\\?["']?(?:[a-z0-9-]+\s+)?)[^"'\\\r\n]+"#,
    r#"(?i)(\b(?:set-)?cookie:\s*)[^"'\r\n]+"#,
    r#"(?i)(\bx-[a-z0-9-]*(?:token|key|secret|auth|password)[a-z0-9-]*\s*:\s*)[^"'\r\n]+"#,
    r"(?i)(\bbearer\s+)[a-z0-9._~+/=-]{16,}",
    r#"(?i)(\bNAME(?:\s*=\s*|\\?["']\s*[:=]\s*|:\s+))VALUE"#,
    r#"(?i)(--?NAME\s+)(?:"[^"]*"|'[^']*'|[^\s"'&;|-][^\s"'&;|]*)"#,
    r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/?#@:]*:)[^\s/?#]+(@)",
    r"(?i)(\bhttps?://)[^\s/?#@:]{20,}(@)",
    r"(\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump|sshpass)\b[^|;&\n]*?\s-p)[^\s]+",
    r#"(\bcurl\b[^|;&\n]*?\s(?:-u|--user|-U|--proxy-user)[ =]?["']?[^\s:"']*:)[^\s"']+"#,
    r"(\bpass:)[^\s]+",
    r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"()\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{20,}|hvs\.[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35})",
    r"()(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
];

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

/// Hides secrets in arguments.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// [`None`]: switched off.
    rules: Option<Rules>,
}

#[derive(Clone, Debug)]
struct Rules {
    /// All of `texts`, as one automaton: most arguments match none.
    any: RegexSet,
    texts: Vec<(Regex, Keep)>,
    /// A flag or a variable with its value: the rest of the argument, whatever is in it.
    assignment: Regex,
    /// A flag whose value is the next argument.
    flag: Regex,
}

/// What of a match stays.
#[derive(Clone, Copy, Debug)]
enum Keep {
    /// Groups 1 (before) and 2 (after): our own patterns.
    Around,
    /// Everything outside group 1, or nothing: configured patterns.
    Outside,
}

impl Redactor {
    /// Compiles the default patterns and the configured ones.
    ///
    /// # Errors
    /// Names the first configured pattern that is not a regular expression.
    pub fn new(config: &RedactConfig) -> Result<Self, RedactError> {
        if !config.enabled {
            return Ok(Self { rules: None });
        }
        let own = PATTERNS.iter().map(|pattern| (expand(pattern), Keep::Around));
        let configured = config.patterns.iter().map(|pattern| (pattern.clone(), Keep::Outside));
        let sources: Vec<_> = own.chain(configured).collect();
        let mut texts = Vec::new();
        for (source, keep) in &sources {
            texts.push((compile(source)?, *keep));
        }
        let any = RegexSetBuilder::new(sources.iter().map(|(source, _)| source))
            .unicode(false)
            .size_limit(SIZE_LIMIT)
            .build()
            .map_err(|source| RedactError { pattern: "all patterns together".to_owned(), source })?;
        let assignment = compile(&expand(r"(?is)\A(-{0,2}NAME=).+\z"))?;
        let flag = compile(&expand(r"(?i)\A--?NAME\z"))?;
        Ok(Self { rules: Some(Rules { any, texts, assignment, flag }) })
    }

    /// Appends `argv[index]` to `out` with its secrets hidden; nothing if there is no such argument.
    pub fn argument(&self, argv: &[Box<[u8]>], index: usize, out: &mut Vec<u8>) {
        let Some(argument) = argv.get(index) else { return };
        match &self.rules {
            None => out.extend_from_slice(argument),
            Some(rules) => rules.argument(argv, index, argument, out),
        }
    }
}

impl Rules {
    fn argument(&self, argv: &[Box<[u8]>], index: usize, argument: &[u8], out: &mut Vec<u8>) {
        let previous = index.checked_sub(1).and_then(|previous| argv.get(previous));
        let is_flag = argument.starts_with(b"-");
        if !is_flag && previous.is_some_and(|previous| self.flag.is_match(previous)) {
            out.extend_from_slice(MARK.as_bytes());
            return;
        }
        if let Some(keep) = program_secret(argv, index) {
            out.extend_from_slice(argument.get(..keep).unwrap_or_default());
            out.extend_from_slice(MARK.as_bytes());
            return;
        }
        if !is_command_line(argv, index)
            && let Some(captures) = self.assignment.captures(argument)
        {
            out.extend_from_slice(group(&captures, 1));
            out.extend_from_slice(MARK.as_bytes());
            return;
        }
        if !self.any.is_match(argument) {
            out.extend_from_slice(argument);
            return;
        }
        let mut text = argument.to_vec();
        for (regex, keep) in &self.texts {
            text = regex.replace_all(&text, |captures: &Captures<'_>| replace(captures, *keep)).into_owned();
        }
        out.extend_from_slice(&text);
    }
}

/// Compiled programs are about 100 KB each; a pattern that needs more than this is a mistake.
const SIZE_LIMIT: usize = 16 << 20;

fn compile(pattern: &str) -> Result<Regex, RedactError> {
    // Arguments are bytes; ASCII classes keep the automata small.
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|source| RedactError { pattern: pattern.to_owned(), source })
}

fn expand(pattern: &str) -> String {
    pattern.replace("NAME", NAME).replace("VALUE", VALUE)
}

fn group<'a>(captures: &Captures<'a>, number: usize) -> &'a [u8] {
    captures.get(number).map_or(&[], |group| group.as_bytes())
}

fn replace(captures: &Captures<'_>, keep: Keep) -> Vec<u8> {
    let whole = group(captures, 0);
    let (before, after) = match (keep, captures.get(1), captures.get(0)) {
        (Keep::Around, ..) => (group(captures, 1), group(captures, 2)),
        (Keep::Outside, Some(secret), Some(all)) => {
            (&whole[..secret.start() - all.start()], &whole[secret.end() - all.start()..])
        }
        (Keep::Outside, ..) => (&[][..], &[][..]),
    };
    [before, MARK.as_bytes(), after].concat()
}

/// If a short option makes `argv[index]` (or its end) a secret: how many bytes of it stay.
fn program_secret(argv: &[Box<[u8]>], index: usize) -> Option<usize> {
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
fn is_command_line(argv: &[Box<[u8]>], index: usize) -> bool {
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

#[cfg(test)]
mod tests;
