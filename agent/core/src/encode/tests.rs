//! Requests decoded with `opentelemetry-proto` and compared.
