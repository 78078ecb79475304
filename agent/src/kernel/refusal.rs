//! What the kernel says when it refuses something, for people: one line.

/// Why the kernel refused a program, in one line. The verifier's log goes to the debug log.
pub(super) fn refusal(program: &str, text: &str) -> String {
    tracing::debug!(program, "{text}");
    if text.lines().any(is_memory_refused) {
        return "the kernel lets no program read its memory, as lockdown in mode confidentiality does".into();
    }
    // After the reason, the verifier says what it cost to find it.
    let is_cost = |line: &str| {
        ["processed ", "verification time ", "stack depth "].iter().any(|start| line.starts_with(start))
    };
    let is_said = |line: &&str| !line.trim().is_empty() && !is_cost(line);
    let mut lines = text.lines().filter(is_said);
    match (lines.next(), lines.next_back()) {
        (Some(first), Some(last)) => format!("{first} … {last}"),
        // Not every refusal is the verifier's; then its log is announced and empty.
        (first, _) => first.unwrap_or_default().trim_end().trim_end_matches(". Verifier output:").to_owned(),
    }
}

/// In lockdown the helpers that read kernel memory are not there, and the kernel does not say why. Aya,
/// which tries them first, falls back on the oldest, `bpf_probe_read`.
fn is_memory_refused(line: &str) -> bool {
    let lacks_helper = ["unknown func", "cannot use helper"].iter().any(|words| line.contains(words));
    lacks_helper && line.contains("bpf_probe_read") && !line.contains("bpf_probe_read_user")
}

/// An error and its causes in one line, as the verifier's log is a cause too.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn a_refused_program_is_one_line() {
        let head =
            "the BPF_PROG_LOAD syscall returned Invalid argument (os error 22). Verifier output: 0: (b7)";
        for helper in [
            "unknown func bpf_probe_read#4",
            "program of this type cannot use helper bpf_probe_read_kernel#113",
        ] {
            let text = format!(
                "{head}\n9: (85) call\n{helper}\nverification time 9 usec\nstack depth 288\nprocessed 9 insns\n\n"
            );
            assert!(refusal("exec", &text).contains("lockdown in mode confidentiality"));
        }
        let text = format!("{head}\n9: (79) r1\nR1 invalid mem access 'scalar'\nprocessed 9 insns\n");
        assert_eq!(refusal("exec", &text), format!("{head} … R1 invalid mem access 'scalar'"));
        assert_eq!(refusal("exec", "no such tracepoint"), "no such tracepoint");
        let text =
            "the BPF_PROG_LOAD syscall returned Operation not permitted (os error 1). Verifier output: ";
        assert!(refusal("exec", text).ends_with("(os error 1)"));
    }
}
