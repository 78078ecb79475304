//! What a secret looks like in a text.

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
    ("sql", "the quoted word after PASSWORD or IDENTIFIED BY"),
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
pub(super) const PATTERNS: &[&str] = &[
    r#"(?i)((?:authorization)\\?["']?\s*[:=]\s*\\?["']?(?:[a-z0-9-]+\s+)?)[^"'\\\r\n]+"#,
    r#"(?i)(\b(?:set-)?cookie:\s*)[^"'\r\n]+"#,
    r#"(?i)(\bx-[a-z0-9-]*(?:token|key|secret|auth|password)[a-z0-9-]*\s*:\s*)[^"'\r\n]+"#,
    r"(?i)(\bbearer\s+)[a-z0-9._~+/=-]{16,}",
    r#"(?i)(\bNAME(?:\s*=\s*|\\?["']\s*[:=]\s*|:\s+))VALUE"#,
    r#"(?i)(--?NAME\s+)(?:"[^"]*"|'[^']*'|[^\s"'&;|-][^\s"'&;|]*)"#,
    r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/?#@:]*:)[^\s/?#]+(@)",
    r"(?i)(\bhttps?://)[^\s/?#@:]{20,}(@)",
    r"(\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\b[^|;&\n]*?\s-p)[^\s]+",
    r#"(\b(?:sshpass\s+-p|redis-cli\b[^|;&\n]*?\s-a|(?:docker|podman|helm)\b[^|;&\n]*?\slogin\b[^|;&\n]*?\s-p)\s*)(?:"[^"]*"|'[^']*'|[^\s"'&;|]+)"#,
    r#"(\bcurl\b[^|;&\n]*?\s(?:-u|--user|-U|--proxy-user)[ =]?["']?[^\s:"']*:)[^\s"']+"#,
    r#"(?i)(\b(?:identified\s+(?:with\s+\S+\s+)?by|password)\s+)(?:'[^']*'|"[^"]*")"#,
    r"(\bpass:)[^\s]+",
    r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"()\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{20,}|hvs\.[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35})",
    r"()(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    // What a capture holds in place of a secret (`HIDDEN`).
    r"()\x1a+",
];

/// A whole argument that is a flag or a variable and its value.
pub(super) const ASSIGNMENT: &str = r"(?is)\A-{0,2}NAME=.";
/// An argument whose value is the next one. Without dashes only a compound name counts, as in
/// `aws configure set aws_secret_access_key …` or `npm config set //host/:_authToken …`:
/// `kubectl get secret db` names a thing.
pub(super) const SECRET_FLAG: &str = r"(?i)\A(?:--?|[a-z0-9]+[_.]|\S*:_)NAME\z";

/// A pattern with the two words replaced by what they stand for.
pub(super) fn expand(pattern: &str) -> String {
    pattern.replace("NAME", NAME).replace("VALUE", VALUE)
}
