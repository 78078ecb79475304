//! Names of images.

use tarsier_core::event::ImageFacts;

/// What a reference says: `HOST:PORT/PATH:TAG@DIGEST`, or `sha256:ID` where the image was named by its id.
pub(super) fn parse(reference: &str) -> ImageFacts {
    if let Some(id) = id(reference) {
        return ImageFacts {
            reference: Some(reference.into()),
            id: Some(id.into()),
            ..ImageFacts::default()
        };
    }
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    // A colon before a slash belongs to a port.
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    };
    ImageFacts {
        reference: super::text(reference),
        id: None,
        repository: super::text(repository),
        tag: tag.map(Box::from),
        digest: digest.map(Box::from),
    }
}

/// The id in `sha256:ID` or `ID`: 64 hexadecimal digits.
pub(super) fn id(text: &str) -> Option<&str> {
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let id = "ab".repeat(32);
        let digest = format!("sha256:{id}");
        for (reference, repository, tag, of_digest, of_id) in [
            ("nginx", "nginx", "", "", ""),
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx", "1.27", "", ""),
            ("reg:5000/a/b", "reg:5000/a/b", "", "", ""),
            ("reg:5000/a/b:v1", "reg:5000/a/b", "v1", "", ""),
            (&format!("quay.io/x/y@{digest}"), "quay.io/x/y", "", &digest, ""),
            (&format!("quay.io/x/y:v2@{digest}"), "quay.io/x/y", "v2", &digest, ""),
            (&digest, "", "", "", &id),
            (&id, "", "", "", &id),
            ("", "", "", "", ""),
        ] {
            let image = parse(reference);
            let text = |value: &Option<Box<str>>| value.as_deref().unwrap_or_default().to_owned();
            let found = [&image.reference, &image.repository, &image.tag, &image.digest, &image.id].map(text);
            assert_eq!(found, [reference, repository, tag, of_digest, of_id], "{reference}");
        }
    }
}
