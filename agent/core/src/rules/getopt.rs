//! `getopt(list, "ab:c::")[b]`: the argument of an option on a command line, as getopt(3) would give it.

/// The argument of option `wanted` among `words` (without the program's name). An option without an argument gives an
/// empty text where it stands. None: it does not stand there.
pub fn argument_of(words: &[Vec<u8>], options: &[u8], wanted: &str) -> Option<Vec<u8>> {
    let wanted = wanted.bytes().next()?;
    let takes = |option: u8| {
        let place = options.iter().position(|known| *known == option && option != b':')?;
        let colons = options[place + 1..].iter().take_while(|byte| **byte == b':').count();
        Some(colons)
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == b"--" {
            return None;
        }
        let Some(mut rest) =
            word.strip_prefix(b"-").filter(|rest| !rest.is_empty() && !rest.starts_with(b"-"))
        else {
            continue;
        };
        while let [option, behind @ ..] = rest {
            rest = behind;
            let argument = match takes(*option) {
                // An argument behind it, at once or, if it must have one, as the next word.
                Some(1) if behind.is_empty() => words.next().cloned()?,
                Some(colons) if colons > 0 => {
                    rest = &[];
                    behind.to_vec()
                }
                _ => Vec::new(),
            };
            if *option == wanted && takes(*option).is_some() {
                return Some(argument);
            }
            if rest.is_empty() {
                break;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_as_getopt_does() {
        let table = [
            ("-n 5 x", "n:", "n", Some("5")),
            ("-n5 x", "n:", "n", Some("5")),
            ("x -n 5", "n:", "n", Some("5")),
            ("-vn 5", "vn:", "n", Some("5")),
            ("-v -n 5", "vn:", "v", Some("")),
            ("-n", "n:", "n", None),
            ("-n 5", "n", "n", Some("")),
            ("-- -n 5", "n:", "n", None),
            ("--n 5", "n:", "n", None),
            ("-a -n 5", "a:n:", "n", None),
            ("-o", "o::", "o", Some("")),
            ("-oval", "o::", "o", Some("val")),
            ("-x 5", "n:", "x", None),
            ("", "n:", "n", None),
        ];
        for (line, options, wanted, expected) in table {
            let words: Vec<Vec<u8>> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
            let found = argument_of(&words, options.as_bytes(), wanted);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{line} {options} {wanted}");
        }
    }
}
