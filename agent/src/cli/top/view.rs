//! How a [`TopState`] is drawn: a head line, the busiest connections, the newest processes, losses.

use clap::ValueEnum;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table, Widget, Wrap};

use crate::ops::admin::{Connection, TopState};

/// What connections are sorted by, largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Bytes per second, now.
    Rate,
    /// Bytes in all.
    Bytes,
    /// Round-trip time.
    Rtt,
    /// Segments sent again.
    Retransmits,
    /// Age.
    Age,
}

impl Sort {
    /// The next key, round and round.
    pub(super) fn next(self) -> Self {
        let all = Self::value_variants();
        let index = all.iter().position(|key| *key == self).unwrap_or(0);
        all[(index + 1) % all.len()]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Rtt => "rtt",
            Self::Retransmits => "retransmits",
            Self::Age => "age",
        }
    }

    fn weight(self, connection: &Connection) -> f64 {
        match self {
            Self::Rate => connection.bytes_per_s,
            Self::Bytes => (connection.sent + connection.received) as f64,
            Self::Rtt => connection.rtt_us.into(),
            Self::Retransmits => connection.retransmits as f64,
            Self::Age => connection.age_ms as f64,
        }
    }
}

/// One frame.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) state: &'a TopState,
    pub(super) sort: Sort,
    pub(super) is_coloured: bool,
}

impl View<'_> {
    /// The frame as lines of text.
    pub(super) fn plain(self, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        self.render(area, &mut buffer);
        let rows = (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>());
        rows.map(|row| row.trim_end().to_owned() + "\n").collect()
    }

    fn style(self, style: Style) -> Style {
        if self.is_coloured { style } else { Style::new() }
    }

    fn head(self) -> Paragraph<'static> {
        let TopState { node, version, uptime_s, rates, .. } = self.state;
        let first = format!("tarsier {version} on {node}, up {}", age(uptime_s * 1000));
        let second = format!(
            "{:.0} records/s  {:.0} execs/s  {:.0} connections/s  {}/s  exported {:.0}/s  cpu {:.2} %  memory {}",
            rates.records,
            rates.execs,
            rates.connections,
            bytes(rates.bytes),
            rates.exported,
            rates.cpu * 100.0,
            bytes(rates.resident_bytes as f64),
        );
        let bold = self.style(Style::new().add_modifier(Modifier::BOLD));
        Paragraph::new(vec![Line::styled(first, bold), Line::from(second)])
    }

    fn connections(self) -> Table<'static> {
        let mut sorted: Vec<&Connection> = self.state.connections.iter().collect();
        sorted.sort_by(|a, b| self.sort.weight(b).total_cmp(&self.sort.weight(a)));
        let rows = sorted.into_iter().map(|connection| {
            let arrow = match connection.role.as_str() {
                "client" => "->",
                "server" => "<-",
                _ => "--",
            };
            Row::new([
                owner(&connection.process, connection.pid),
                shown(&connection.workload),
                format!("{} {arrow} {}", connection.local, connection.peer),
                format!("{:>9}/s", bytes(connection.bytes_per_s)),
                format!("{:>9}", bytes(connection.sent as f64)),
                format!("{:>9}", bytes(connection.received as f64)),
                rtt(connection.rtt_us),
                format!("{:>5}", connection.retransmits),
                format!("{:>7}", age(connection.age_ms)),
            ])
        });
        let widths = [
            Constraint::Fill(2),
            Constraint::Fill(2),
            Constraint::Fill(5),
            Constraint::Length(11),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(8),
            Constraint::Length(5),
            Constraint::Length(7),
        ];
        let heads = ["process", "workload", "local, peer", "       rate", "     sent", " received"];
        let head = heads.into_iter().chain(["     rtt", "retr.", "    age"]);
        self.table(rows.collect(), &widths, head.collect(), format!(" connections by {} ", self.sort.name()))
    }

    fn processes(self) -> Table<'static> {
        let rows = self.state.processes.iter().map(|process| {
            let exit = process.exit.map_or_else(|| "running".to_owned(), |code| format!("exit {code}"));
            Row::new([
                format!("{:>8}", process.pid),
                format!("{:>8}", process.parent),
                format!("{:>6}", process.uid),
                format!("{:>7}", age(process.age_ms)),
                exit,
                shown(&process.workload),
                shown(&process.command),
            ])
        });
        let widths = [
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Length(6),
            Constraint::Length(7),
            Constraint::Length(8),
            Constraint::Fill(1),
            Constraint::Fill(4),
        ];
        let head = vec!["     pid", "  parent", "   uid", "    age", "state", "workload", "command"];
        self.table(rows.collect(), &widths, head, " newest processes ".into())
    }

    fn table(
        self,
        rows: Vec<Row<'static>>,
        widths: &[Constraint],
        head: Vec<&'static str>,
        title: String,
    ) -> Table<'static> {
        let head = Row::new(head).style(self.style(Style::new().add_modifier(Modifier::DIM)));
        Table::new(rows, widths.iter().copied()).header(head).block(Block::bordered().title(title))
    }

    /// Every sensor that is off and every loss; the good state is one line.
    fn losses(self) -> Vec<Line<'static>> {
        let (on, off): (Vec<_>, Vec<_>) = self.state.sensors.iter().partition(|sensor| sensor.on);
        let on: Vec<&str> = on.into_iter().map(|sensor| sensor.name.as_str()).collect();
        let mut lines = vec![Line::from(format!("sensors on: {}", on.join(", ")))];
        let bad = self.style(Style::new().fg(Color::Yellow));
        for sensor in off {
            lines.push(Line::styled(format!("sensor {} is off: {}", sensor.name, sensor.reason), bad));
        }
        for loss in &self.state.losses {
            lines.push(Line::styled(format!("{:>12} {} {}", loss.count, loss.place, loss.cause), bad));
        }
        if self.state.losses.is_empty() {
            lines.push(Line::styled("nothing lost", self.style(Style::new().fg(Color::Green))));
        }
        lines
    }
}

impl Widget for View<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let losses = self.losses();
        let bottom = u16::try_from(losses.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height / 3);
        let [head, connections, processes, bottom, keys] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Fill(3),
            Constraint::Fill(2),
            Constraint::Length(bottom),
            Constraint::Length(1),
        ])
        .areas(area);
        self.head().render(head, buffer);
        Widget::render(self.connections(), connections, buffer);
        Widget::render(self.processes(), processes, buffer);
        let losses = Paragraph::new(losses).wrap(Wrap { trim: false });
        losses.block(Block::bordered().title(" losses and health ")).render(bottom, buffer);
        Line::from(" q quit   s sort").render(keys, buffer);
    }
}

fn owner(process: &str, pid: u32) -> String {
    match (process, pid) {
        ("", 0) => "?".to_owned(),
        (name, 0) => shown(name),
        (name, pid) => format!("{} {pid}", shown(name)),
    }
}

/// On one line: a process may be called anything, line breaks and escape sequences included.
fn shown(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Four digits at most and a unit: `1.23 MB`.
fn bytes(count: f64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000.0 {
        return format!("{count:.0} B");
    }
    let mut value = count / 1000.0;
    let mut units = UNITS.into_iter().peekable();
    let mut unit = units.next().unwrap_or_default();
    // What would round to 1000 moves on to the next unit.
    while value >= 999.95 && units.peek().is_some() {
        value /= 1000.0;
        unit = units.next().unwrap_or_default();
    }
    format!("{value:.1} {unit}")
}

fn rtt(micros: u32) -> String {
    match micros {
        0 => format!("{:>8}", "-"),
        1..1000 => format!("{micros:>5} us"),
        _ => format!("{:>5.1} ms", f64::from(micros) / 1000.0),
    }
}

fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
