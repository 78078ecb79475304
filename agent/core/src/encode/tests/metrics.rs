//! Metrics requests.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{self as otlp, exemplar, metric, number_data_point};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

/// A series: label, value, exemplar (its value's kind, time, ids).
type Series = (String, i64, Option<(bool, u64, [u8; 16])>);

fn series() -> impl Strategy<Value = Vec<Series>> {
    let exemplar = option::of((any::<bool>(), any::<u64>(), any::<[u8; 16]>()));
    vec((".{0,40}", any::<i64>(), exemplar), 0..4)
}

fn labels(label: &str) -> Attributes {
    let mut labels = Attributes::new();
    labels.text("forgotten", "by clear");
    labels.clear();
    labels.text("source.workload.name", label);
    labels.int("server.port", 8080);
    // Longer than a length of one byte can tell.
    labels.text("long", &"x".repeat(200));
    labels.bool("other", true);
    labels
}

fn want_labels(label: &str) -> Vec<KeyValue> {
    let long = text("long", "x".repeat(200));
    vec![text("source.workload.name", label), int("server.port", 8080), long, truth("other")]
}

fn exemplar_of((_, value, exemplar): &Series) -> Option<Exemplar> {
    exemplar.map(|(is_int, time_unix_ns, trace)| Exemplar {
        value: if is_int { Number::Int(*value) } else { Number::Double(*value as f64) },
        time_unix_ns,
        trace,
        span: [7; 8],
    })
}

fn want_exemplars((_, value, exemplar): &Series) -> Vec<otlp::Exemplar> {
    let one = exemplar.map(|(is_int, time_unix_nano, trace)| otlp::Exemplar {
        time_unix_nano,
        span_id: vec![7; 8],
        trace_id: trace.to_vec(),
        value: Some(match is_int {
            true => exemplar::Value::AsInt(*value),
            false => exemplar::Value::AsDouble(*value as f64),
        }),
        ..Default::default()
    });
    one.into_iter().collect()
}

fn want_number(series: &Series, value: number_data_point::Value) -> otlp::NumberDataPoint {
    otlp::NumberDataPoint {
        attributes: want_labels(&series.0),
        start_time_unix_nano: 11,
        time_unix_nano: 12,
        exemplars: want_exemplars(series),
        value: Some(value),
        ..Default::default()
    }
}

fn want_metric(name: &str, data: metric::Data) -> otlp::Metric {
    otlp::Metric {
        name: name.to_owned(),
        description: "What it is.".to_owned(),
        unit: "By".to_owned(),
        data: Some(data),
        ..Default::default()
    }
}

fn expected(sums: &[Series], gauges: &[Series], histograms: &[Series]) -> Vec<otlp::Metric> {
    let sum = sums.iter().map(|series| want_number(series, number_data_point::Value::AsInt(series.1)));
    let gauge =
        gauges.iter().map(|series| want_number(series, number_data_point::Value::AsDouble(series.1 as f64)));
    let histogram = histograms.iter().map(|series| otlp::HistogramDataPoint {
        attributes: want_labels(&series.0),
        start_time_unix_nano: 11,
        time_unix_nano: 12,
        count: 6,
        sum: Some(series.1 as f64),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.001, 0.1],
        exemplars: want_exemplars(series),
        ..Default::default()
    });
    let sum =
        otlp::Sum { data_points: sum.collect(), aggregation_temporality: 1, is_monotonic: sums.len() > 1 };
    let gauge = otlp::Gauge { data_points: gauge.collect() };
    let histogram = otlp::Histogram { data_points: histogram.collect(), aggregation_temporality: 2 };
    let mut metrics = Vec::new();
    metrics.extend((!sums.is_empty()).then(|| want_metric("a.sum", metric::Data::Sum(sum))));
    metrics.extend((!gauges.is_empty()).then(|| want_metric("a.gauge", metric::Data::Gauge(gauge))));
    metrics.extend(
        (!histograms.is_empty()).then(|| want_metric("a.histogram", metric::Data::Histogram(histogram))),
    );
    metrics
}

fn encode(encoder: &mut MetricsEncoder, sums: &[Series], gauges: &[Series], histograms: &[Series]) {
    let instrument = |name| Instrument { name, unit: "By", description: "What it is." };
    encoder.begin(11, 12);
    encoder.sum(&instrument("a.sum"), Temporality::Delta, sums.len() > 1, |points| {
        for series in sums {
            points.add(&labels(&series.0), Number::Int(series.1), exemplar_of(series).as_ref());
        }
    });
    encoder.gauge(&instrument("a.gauge"), |points| {
        for series in gauges {
            points.add(&labels(&series.0), Number::Double(series.1 as f64), exemplar_of(series).as_ref());
        }
    });
    encoder.histogram(&instrument("a.histogram"), Temporality::Cumulative, |points| {
        for series in histograms {
            let sum = series.1 as f64;
            let point = HistogramPoint { bounds: &[0.001, 0.1], buckets: &[1, 2, 3], sum };
            points.add(&labels(&series.0), &point, exemplar_of(series).as_ref());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn requests_decode_to_the_points(sums in series(), gauges in series(), histograms in series()) {
        let mut encoder = MetricsEncoder::new(&agent());
        let metrics = expected(&sums, &gauges, &histograms);
        let count = sums.len() + gauges.len() + histograms.len();
        // Again with the same encoder: nothing of a request leaks into the next.
        for _ in 0..2 {
            encode(&mut encoder, &sums, &gauges, &histograms);
            let promised = encoder.len();
            let Some(request) = encoder.finish() else {
                prop_assert_eq!(count, 0);
                continue;
            };
            prop_assert_eq!(request.items as usize, count);
            prop_assert!((0..12).contains(&(promised - request.body.len())));
            let got = ExportMetricsServiceRequest::decode(request.body.clone()).unwrap();
            prop_assert_eq!(got.encoded_len(), request.body.len());
            prop_assert_eq!(got.resource_metrics.len(), 1);
            prop_assert_eq!(&got.resource_metrics[0].scope_metrics[0].metrics, &metrics);
        }
    }
}

#[test]
fn metrics_are_about_the_agent_and_the_user_may_rename_it() {
    let one = [("x".to_owned(), 1, None)];
    let mut encoder = MetricsEncoder::new(&agent());
    encode(&mut encoder, &one, &[], &[]);
    let got = ExportMetricsServiceRequest::decode(encoder.finish().unwrap().body).unwrap();
    let got = &got.resource_metrics[0];
    assert_eq!(got.scope_metrics[0].scope, Some(scope()));
    let want = vec![
        text("deployment.environment.name", "test"),
        text("service.name", "renamed"),
        text("host.name", "given"),
        text("service.version", "1.2.3"),
        text("service.instance.id", "i-1"),
        text("host.id", "0123456789abcdef"),
        text("os.type", "linux"),
        text("telemetry.distro.name", "tarsier"),
        text("telemetry.distro.version", "1.2.3"),
    ];
    assert_eq!(got.resource.as_ref().unwrap().attributes, want);
    assert_eq!(encoder.finish(), None);
}
