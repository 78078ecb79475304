//! The metrics of all workloads, from the aggregate's series to OTLP points.
//!
//! The resource is the agent; workloads are attributes, and their number is capped: what exceeds
//! `metrics.series_limit` is in the series named `other`.

use rustc_hash::FxHashMap;
use tarsier_core::encode::ids::FlowIds;
use tarsier_core::encode::{
    Attributes, Clock, Exemplar, HistogramPoint, Instrument, MetricsEncoder, Number, Temporality,
};
use tarsier_core::enrich::CgroupTable;
use tarsier_core::event::{Role, Workload, WorkloadKind};
use tarsier_core::flows::{self, Aggregate, BOUNDS_US, Counter, Failure, Histogram, OTHER, Series, Values};

use super::stages::Stages;

/// A metric, and the value of a series that it shows.
struct Sum {
    instrument: Instrument<'static>,
    /// Attribute that tells the parts of one metric apart, with a value per part.
    parts: &'static [Part],
}

struct Part {
    attribute: Option<(&'static str, &'static str)>,
    value: fn(&Values) -> &Counter,
}

const fn instrument(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
) -> Instrument<'static> {
    Instrument { name, unit, description }
}

const DIRECTION: &str = "network.io.direction";

const SUMS: &[Sum] = &[
    Sum {
        instrument: instrument(
            "tarsier.flow.bytes",
            "By",
            "Payload bytes of TCP connections, each byte once.",
        ),
        parts: &[
            Part { attribute: Some((DIRECTION, "transmit")), value: |values| &values.bytes_sent },
            Part { attribute: Some((DIRECTION, "receive")), value: |values| &values.bytes_received },
        ],
    },
    Sum {
        instrument: instrument(
            "tarsier.flow.packets",
            "{packet}",
            "TCP segments, retransmitted ones included.",
        ),
        parts: &[
            Part { attribute: Some((DIRECTION, "transmit")), value: |values| &values.segments_sent },
            Part { attribute: Some((DIRECTION, "receive")), value: |values| &values.segments_received },
        ],
    },
    Sum {
        instrument: instrument("tarsier.tcp.retransmits", "{segment}", "TCP segments sent again."),
        parts: &[Part { attribute: None, value: |values| &values.retransmits }],
    },
    Sum {
        instrument: instrument(
            "tarsier.tcp.connections",
            "{connection}",
            "TCP connections that are over, failed ones included.",
        ),
        parts: &[Part { attribute: None, value: |values| &values.connections }],
    },
    Sum {
        instrument: instrument(
            "tarsier.tcp.failures",
            "{connection}",
            "TCP connections that failed, by error.type.",
        ),
        parts: &[
            Part {
                attribute: Some(("error.type", "refused")),
                value: |values| failure(values, Failure::Refused),
            },
            Part {
                attribute: Some(("error.type", "reset")),
                value: |values| failure(values, Failure::Reset),
            },
            Part {
                attribute: Some(("error.type", "timeout")),
                value: |values| failure(values, Failure::Timeout),
            },
            Part {
                attribute: Some(("error.type", "aborted")),
                value: |values| failure(values, Failure::Aborted),
            },
            Part {
                attribute: Some(("error.type", "_OTHER")),
                value: |values| failure(values, Failure::Other),
            },
        ],
    },
];

const RTT: Instrument<'_> =
    instrument("tarsier.tcp.rtt", "s", "Smoothed round-trip time, once per report of a connection.");
const CONNECT: Instrument<'_> =
    instrument("tarsier.tcp.connect.duration", "s", "From connect to established, clients only.");
const ACTIVE: Instrument<'_> = instrument(
    "tarsier.tcp.connections.active",
    "{connection}",
    "Connections that the last sweep saw at work.",
);

fn failure(values: &Values, failure: Failure) -> &Counter {
    &values.failures[failure as usize]
}

/// Adds the points of all series. `labels` is memory that serves every export.
pub(super) fn encode(
    stages: &Stages,
    ids: &FlowIds,
    clock: Clock,
    labels: &mut Vec<Attributes>,
    encoder: &mut MetricsEncoder,
) {
    let Stages { aggregate, cgroups, .. } = stages;
    write_labels(labels, aggregate, cgroups);
    let points = Points { labels, aggregate, ids, clock };
    for sum in SUMS {
        points.sum(sum, encoder);
    }
    encoder.sum(&ACTIVE, Temporality::Cumulative, false, |out| {
        for (series, labels) in points.series() {
            out.add(labels, Number::Int(series.values.active), None);
        }
    });
    points.histogram(&RTT, |values| &values.rtt, encoder);
    points.histogram(&CONNECT, |values| &values.connect, encoder);
}

/// Everything that a point is made from.
struct Points<'a> {
    /// By position of the series.
    labels: &'a [Attributes],
    aggregate: &'a Aggregate,
    ids: &'a FlowIds,
    clock: Clock,
}

impl Points<'_> {
    fn series(&self) -> impl Iterator<Item = (&Series, &Attributes)> {
        self.aggregate.series().zip(self.labels)
    }

    fn sum(&self, sum: &Sum, encoder: &mut MetricsEncoder) {
        let mut more = Attributes::new();
        encoder.sum(&sum.instrument, Temporality::Cumulative, true, |out| {
            for (series, labels) in self.series() {
                for part in sum.parts {
                    let counter = (part.value)(&series.values);
                    if counter.total == 0 {
                        continue;
                    }
                    let mut labels = labels;
                    if let Some((key, value)) = part.attribute {
                        more.copy(labels);
                        more.text(key, value);
                        labels = &more;
                    }
                    let exemplar = counter.exemplar.and_then(|exemplar| {
                        self.exemplar(&exemplar, Number::Int(exemplar.value as i64), series)
                    });
                    out.add(labels, Number::Int(counter.total as i64), exemplar.as_ref());
                }
            }
        });
    }

    fn histogram(
        &self,
        instrument: &Instrument<'_>,
        of: fn(&Values) -> &Histogram,
        encoder: &mut MetricsEncoder,
    ) {
        let bounds = BOUNDS_US.map(seconds);
        encoder.histogram(instrument, Temporality::Cumulative, |out| {
            for (series, labels) in self.series() {
                let values = of(&series.values);
                if values.count() == 0 {
                    continue;
                }
                let exemplar = values.exemplar.and_then(|exemplar| {
                    self.exemplar(&exemplar, Number::Double(seconds(exemplar.value)), series)
                });
                let sum = seconds(values.sum_us);
                let point = HistogramPoint { bounds: &bounds, buckets: &values.buckets, sum };
                out.add(labels, &point, exemplar.as_ref());
            }
        });
    }

    /// `None` for a connection whose other end would derive another trace (a failed connect).
    fn exemplar(&self, exemplar: &flows::Exemplar, value: Number, series: &Series) -> Option<Exemplar> {
        let ids = self.ids.of_pair(exemplar.isn, series.key.role)?;
        let time_unix_ns = self.clock.unix_ns(exemplar.boot_ns);
        Some(Exemplar { value, time_unix_ns, trace: ids.trace, span: ids.span })
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// Writes the attributes of every series, by its position.
fn write_labels(labels: &mut Vec<Attributes>, aggregate: &Aggregate, cgroups: &CgroupTable) {
    let workloads: FxHashMap<u32, &Workload> =
        cgroups.workloads().map(|workload| (workload.index, workload.as_ref())).collect();
    labels.resize_with(aggregate.series().len(), Attributes::new);
    for (series, attributes) in aggregate.series().zip(labels) {
        label(attributes, series, workloads.get(&series.key.workload).copied());
    }
}

fn label(attributes: &mut Attributes, series: &Series, workload: Option<&Workload>) {
    attributes.clear();
    attributes.text("network.transport", "tcp");
    match workload {
        _ if series.key.workload == OTHER => attributes.text("tarsier.workload.name", "other"),
        None => attributes.text("tarsier.workload.name", "removed"),
        Some(workload) => {
            attributes.text("tarsier.workload.name", &workload.name);
            if workload.kind == WorkloadKind::Container {
                attributes.text("container.id", &workload.container_id);
            }
        }
    }
    attributes.text(
        "tarsier.flow.role",
        match series.key.role {
            Role::Client => "client",
            Role::Server => "server",
            Role::Unknown => "unknown",
        },
    );
    if series.key.server_port != 0 {
        attributes.int("server.port", i64::from(series.key.server_port));
    }
}
