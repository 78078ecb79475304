//! What is hidden, and the look-alikes that must stay.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

mod naive;

static DEFAULT: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&RedactConfig::default()).unwrap());

/// NUL-ended, as the kernel has them.
fn joined<T: AsRef<[u8]>>(argv: &[T]) -> Vec<u8> {
    argv.iter().flat_map(|argument| [argument.as_ref(), b"\0"].concat()).collect()
}

fn redact(config: &RedactConfig, argv: &[&str]) -> Vec<String> {
    let redactor = Redactor::new(config).unwrap();
    let mut scratch = Scratch::default();
    let text = |argument: &[u8]| String::from_utf8(argument.to_vec()).unwrap();
    redactor.redact(Argv::new(&joined(argv)), &mut scratch).iter().map(text).collect()
}

/// (arguments, the last of them as it must leave).
const HIDDEN: &[(&[&str], &str)] = &[
    (&["x", "--password=hunter2 with spaces & more"], "--password=[REDACTED]"),
    (&["x", "--password", "hunter2"], "[REDACTED]"),
    (&["x", "-password", "hunter2"], "[REDACTED]"),
    (&["x", "--db-pass=hunter2"], "--db-pass=[REDACTED]"),
    (&["x", "--adminPassword", "hunter2"], "[REDACTED]"),
    (&["x", "--token", "abc"], "[REDACTED]"),
    (&["x", "--api-key=abc"], "--api-key=[REDACTED]"),
    (&["docker", "run", "-e", "DB_PASSWORD=hunter2"], "DB_PASSWORD=[REDACTED]"),
    (&["env", "PGPASSWORD=hunter2"], "PGPASSWORD=[REDACTED]"),
    (&["env", "MYSQL_PWD=hunter2"], "MYSQL_PWD=[REDACTED]"),
    (&["env", "GITHUB_TOKEN=abc"], "GITHUB_TOKEN=[REDACTED]"),
    (&["env", "AWS_SECRET_ACCESS_KEY=abc/def+="], "AWS_SECRET_ACCESS_KEY=[REDACTED]"),
    (&["env", "API_KEY=abc"], "API_KEY=[REDACTED]"),
    (&["java", "-Dspring.datasource.password=hunter2"], "-Dspring.datasource.password=[REDACTED]"),
    (&["helm", "--set", "db.password=hunter2,b=c"], "db.password=[REDACTED]"),
    (&["mysql", "-phunter2"], "-p[REDACTED]"),
    (&["/usr/bin/mysql", "-u", "root", "-phunter2"], "-p[REDACTED]"),
    (&["sudo", "mysqldump", "-phunter2"], "-p[REDACTED]"),
    (&["sshpass", "-p", "hunter2"], "[REDACTED]"),
    (&["sshpass", "-phunter2"], "-p[REDACTED]"),
    (&["redis-cli", "-a", "hunter2"], "[REDACTED]"),
    (&["docker", "login", "-u", "me", "-p", "hunter2"], "[REDACTED]"),
    (&["ldapsearch", "-w", "hunter2"], "[REDACTED]"),
    (&["curl", "-u", "me:hunter2"], "me:[REDACTED]"),
    (&["curl", "-ume:hunter2"], "-ume:[REDACTED]"),
    (&["curl", "--user=me:hunter2"], "--user=me:[REDACTED]"),
    (&["psql", "postgres://me:hunter2@db:5432/x?a=b"], "postgres://me:[REDACTED]@db:5432/x?a=b"),
    (&["x", "redis://:hunter2@db"], "redis://:[REDACTED]@db"),
    (&["x", "http://me:p@ss@db/"], "http://me:[REDACTED]@db/"),
    (&["git", "clone", "https://0123456789abcdef01234567@host/r"], "https://[REDACTED]@host/r"),
    (&["curl", "https://host/?token=abc&page=2"], "https://host/?token=[REDACTED]&page=2"),
    (&["curl", "-H", "Authorization: Bearer abc.def"], "Authorization: Bearer [REDACTED]"),
    (&["curl", "-H", "authorization:Basic bWU6cHc="], "authorization:Basic [REDACTED]"),
    (&["curl", "-H", "Authorization: abcdef"], "Authorization: [REDACTED]"),
    (&["curl", "-H", "X-Api-Key: abc"], "X-Api-Key: [REDACTED]"),
    (&["curl", "-H", "X-Vault-Token:abc"], "X-Vault-Token:[REDACTED]"),
    (&["curl", "-H", "PRIVATE-TOKEN: abc"], "PRIVATE-TOKEN: [REDACTED]"),
    (&["curl", "--cookie", "Cookie: sid=abc; b=c"], "Cookie: [REDACTED]"),
    (
        &["curl", "-d", r#"{"user":"me","password":"hunter2","n":1}"#],
        r#"{"user":"me","password":[REDACTED],"n":1}"#,
    ),
    (&["aws", "configure", "set", "aws_secret_access_key", "abc"], "[REDACTED]"),
    (&["npm", "config", "set", "//host/:_authToken", "abc"], "[REDACTED]"),
    (&["psql", "-c", "alter user me password 'hunter2'"], "alter user me password [REDACTED]"),
    (&["x", "Bearer 0123456789abcdef"], "Bearer [REDACTED]"),
    (&["x", "key AKIAIOSFODNN7EXAMPLE here"], "key [REDACTED] here"),
    (&["x", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def_1"], "[REDACTED]"),
    (&["x", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"], "[REDACTED]"),
    (&["x", "a glpat-0123456789abcdefghij b"], "a [REDACTED] b"),
    (&["openssl", "rsa", "-passin", "pass:hunter2"], "pass:[REDACTED]"),
    (&["x", "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nrest"], "[REDACTED]\nrest"),
    (&["sh", "-c", "PGPASSWORD=hunter2 psql -h db"], "PGPASSWORD=[REDACTED] psql -h db"),
    (&["bash", "-lc", "export API_KEY='a b'; run"], "export API_KEY=[REDACTED]; run"),
    (&["sh", "-c", "x --password hunter2 --verbose"], "x --password [REDACTED] --verbose"),
    (&["sh", "-c", "mysql -u root -phunter2 db"], "mysql -u root -p[REDACTED] db"),
    (&["sh", "-c", "sshpass -p 'hunter 2' ssh -p 22 me@h"], "sshpass -p [REDACTED] ssh -p 22 me@h"),
    (&["sh", "-c", "redis-cli -h db -a hunter2 ping"], "redis-cli -h db -a [REDACTED] ping"),
    (&["sh", "-c", "docker login -u me -p hunter2 reg"], "docker login -u me -p [REDACTED] reg"),
    (&["sh", "-c", "curl -u me:hunter2 https://h"], "curl -u me:[REDACTED] https://h"),
    (
        &["sh", "-c", r#"curl -H "Authorization: Bearer abc" https://h && echo done"#],
        r#"curl -H "Authorization: Bearer [REDACTED]" https://h && echo done"#,
    ),
    (&["x", "Server=db;User=me;Password=hunter2;Port=1"], "Server=db;User=me;Password=[REDACTED];Port=1"),
];

/// Command lines without a secret.
const KEPT: &[&[&str]] = &[
    &["x", "--password-file=/run/secrets/db", "--token-ttl", "5", "--secret-name=db"],
    &["x", "--password", "--verbose", "--bypass=1", "--compass", "north", "compass=north"],
    &["env", "PWD=/home/me", "OLDPWD=/", "PATH=/usr/bin"],
    &["git", "clone", "ssh://git@github.com/a/b", "https://host:8080/path@v2"],
    &["git", "commit", "--author=me <me@host>", "-m", "pass the token on"],
    &["x", "--max-tokens=5", "monkey=1", "--keyboard", "us", "passwords.txt"],
    &["kubectl", "get", "secret", "db", "-o", "yaml"],
    &["cp", "/run/secrets/db_password", "/dst"],
    &["cat", "/etc/passwd", "/etc/shadow", "eyJust.a.b", "ghp_short"],
    &["mysql", "-p", "-P", "3306", "-u", "root", "-h", "db"],
    &["docker", "run", "-p", "8080:80", "nginx:latest"],
    &["sh", "-c", "docker run -p 80:80 nginx; ssh -p 22 h; redis-cli ping -a"],
    &["psql", "-p", "5432", "-U", "me"],
    &["curl", "-u", "me", "-sS", "https://host/a:b"],
    &["ssh", "-p", "22", "-o", "PasswordAuthentication=no", "me@host"],
    &["sh", "-c", "grep -c token file | sort; echo $PASS"],
    &["x", "", "-", "--", "=", "--=", "://", "a:b@c"],
];

#[test]
fn secrets_are_hidden() {
    for (argv, want) in HIDDEN {
        let got = redact(&RedactConfig::default(), argv);
        assert_eq!(got.last().unwrap(), want, "{argv:?}");
        assert_eq!(got[0], argv[0], "the program stays readable");
    }
}

#[test]
fn look_alikes_stay() {
    for argv in KEPT {
        assert_eq!(redact(&RedactConfig::default(), argv), *argv);
    }
}

#[test]
fn switched_off_nothing_is_hidden() {
    let config = RedactConfig { enabled: false, patterns: vec!["x".to_owned()] };
    for (argv, _) in HIDDEN {
        assert_eq!(redact(&config, argv), *argv);
    }
}

#[test]
fn configured_patterns_hide_their_group_or_the_match() {
    let config = RedactConfig {
        patterns: vec![r"customer-(\d+)-x".to_owned(), r"acme_[a-z]+".to_owned()],
        ..RedactConfig::default()
    };
    let got = redact(&config, &["x", "customer-42-x, acme_abc!", "--password=p"]);
    assert_eq!(got, ["x", "customer-[REDACTED]-x, [REDACTED]!", "--password=[REDACTED]"]);
}

#[test]
fn a_bad_pattern_is_named() {
    let config = RedactConfig { patterns: vec!["good".to_owned(), "ba(d".to_owned()], ..Default::default() };
    let error = Redactor::new(&config).unwrap_err();
    assert_eq!(error.pattern, "ba(d");
    assert!(error.to_string().contains("ba(d"), "{error}");
}

#[test]
fn bytes_that_are_not_text_pass_and_do_not_shield_a_secret() {
    let redactor = Redactor::new(&RedactConfig::default()).unwrap();
    let mut scratch = Scratch::default();
    let cut = redactor.redact(Argv::new(b"x\0\xFF --password=\xFE\xFD \xFC"), &mut scratch);
    assert_eq!(cut.bytes(), b"x\0\xFF --password=[REDACTED] \xFC");
    let whole = redactor.redact(Argv::new(b"x\0\0\xFF --password=\xFE\xFD \xFC\0\0"), &mut scratch);
    assert_eq!(whole.bytes(), b"x\0\0\xFF --password=[REDACTED] \xFC\0\0");
    assert!(redactor.redact(Argv::new(b""), &mut scratch).is_empty());
}

#[test]
fn a_mask_keeps_lengths_and_becomes_the_same_mark() {
    let redactor = Redactor::new(&RedactConfig::default()).unwrap();
    let (mut scratch, mut again) = (Scratch::default(), Scratch::default());
    for (argv, expected) in HIDDEN {
        let argv = joined(argv);
        let masked = redactor.mask(Argv::new(&argv), &mut scratch);
        let lengths = |argv: Argv<'_>| argv.iter().map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(masked), lengths(Argv::new(&argv)));
        assert!(masked.iter().last().unwrap().contains(&super::HIDDEN), "{argv:?}");
        // What a replay prints is what was printed live.
        let last = redactor.redact(masked, &mut again).iter().last().unwrap();
        assert_eq!(String::from_utf8_lossy(last), *expected, "{argv:?}");
    }
}

/// Words and what is between them, of which secrets are made.
fn fragment() -> impl Strategy<Value = String> {
    let known = HIDDEN.iter().flat_map(|(argv, _)| argv.iter()).chain(KEPT.iter().copied().flatten());
    let words: Vec<String> =
        known.flat_map(|argument| argument.split_inclusive(' ')).map(str::to_owned).collect();
    prop_oneof![
        4 => select(words),
        2 => "[a-zA-Z]{0,6}(pass|secret|TOKEN|credential|api_key|_pwd|_auth|Cookie|bearer|://|mysql|login|curl|akia|eyJ|ghp_|xoxb-|sk_live_|npm_|\x1a)",
        2 => "[ =:@'\"/.&-]{1,3}",
        1 => "[a-zA-Z0-9]{1,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// What is found quickly to be clean is clean, and what is told in turn is what is looked up anew.
    #[test]
    fn shortcuts_change_nothing(
        program in select(vec!["x", "sudo", "/usr/bin/env", "mysql", "docker", "curl", "sh", "busybox", "7z"]),
        argv in vec(vec(fragment(), 0..5).prop_map(|parts| parts.concat()), 0..6), masked: bool,
    ) {
        let argv: Vec<String> = std::iter::once(program.to_owned()).chain(argv).collect();
        let given = joined(&argv);
        let mut scratch = Scratch::default();
        let cover = if masked { Cover::Bytes } else { Cover::Mark };
        let got = DEFAULT.hide(Argv::new(&given), cover, &mut scratch);
        let want = joined(&naive::hide(DEFAULT.rules.as_ref().unwrap(), &argv, cover));
        prop_assert_eq!(String::from_utf8_lossy(got.bytes()), String::from_utf8_lossy(&want));
    }
}
