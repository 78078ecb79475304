//! The encoder that ships.

use tarsier_core::encode::redact::{RedactConfig, Redactor};
use tarsier_core::encode::{Encoded, Identity, LogsEncoder, TracesEncoder};
use tarsier_core::event::What;

use crate::reports::Reports;
use crate::{CLOCK, Request, Side};

/// A request is finished at this size, as the agent does.
const REQUEST: usize = 1 << 20;

pub(crate) struct Ours {
    logs: LogsEncoder,
    traces: TracesEncoder,
}

impl Ours {
    pub(crate) fn new(identity: &Identity) -> Self {
        let off = RedactConfig { enabled: false, ..RedactConfig::default() };
        let redactor = Redactor::new(&off).expect("no pattern");
        Self {
            logs: LogsEncoder::new(identity, redactor, 4 << 20),
            traces: TracesEncoder::new(identity, 4 << 20),
        }
    }
}

impl Side for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn pass(&mut self, reports: &Reports, request: &mut dyn FnMut(Request<'_>)) {
        let mut send = |logs, encoded| hand_out(logs, encoded, request);
        for report in reports.iter() {
            if let What::Flow { .. } = report.what {
                send(false, self.traces.push(&report, CLOCK));
                if self.traces.len() >= REQUEST {
                    send(false, self.traces.finish());
                }
            } else {
                send(true, self.logs.push(&report, CLOCK));
                if self.logs.len() >= REQUEST {
                    send(true, self.logs.finish());
                }
            }
        }
    }

    fn finish(&mut self, request: &mut dyn FnMut(Request<'_>)) {
        hand_out(true, self.logs.finish(), request);
        hand_out(false, self.traces.finish(), request);
    }
}

fn hand_out(logs: bool, encoded: Option<Encoded>, request: &mut dyn FnMut(Request<'_>)) {
    if let Some(Encoded { body, items }) = encoded {
        request(Request { logs, items: items as usize, body: &body });
    }
}
