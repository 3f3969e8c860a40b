//! What a measurement has come to: in words, as JSON, and as a picture.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;
use serde_json::{Value, json};

use super::Options;
use super::tally::{Sums, Tally, end_of};

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

pub(super) struct Report<'a> {
    mode: &'static str,
    options: &'a Options,
    sums: Sums,
}

impl Report<'_> {
    pub(super) fn new<'a>(mode: &'static str, options: &'a Options, tally: &Tally) -> Report<'a> {
        Report { mode, options, sums: tally.sums() }
    }

    fn rate(&self) -> f64 {
        let seconds = self.sums.took.as_secs_f64();
        if seconds > 0.0 { self.sums.latencies.len() as f64 / seconds } else { 0.0 }
    }

    /// Returns what is counted.
    fn unit(&self) -> &'static str {
        if self.mode == "connections" { "connections" } else { "messages" }
    }

    pub(super) fn text(&self) -> String {
        let Options { clients, size, qos, .. } = self.options;
        let Sums { expected, took, latencies, .. } = &self.sums;
        let (done, unit) = (latencies.len(), self.unit());
        let mut text = match unit {
            "connections" => format!("{}: {done} of {expected} connections", self.mode),
            _ => format!(
                "{}: {done} of {expected} messages of {size} bytes at QoS {}, clients: {clients}",
                self.mode, *qos as u8
            ),
        };
        text += &format!(", {:.3} s\n", took.as_secs_f64());
        text += &format!("  {:.0} {unit} a second\n  latency", self.rate());
        for (name, percent) in PERCENTILES {
            text += &format!("  {name} {}", millis(self.percentile(percent)));
        }
        text.push('\n');
        text
    }

    fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.sums.latencies.value_at_percentile(percent))
    }

    pub(super) fn json(&self) -> Value {
        let Options { clients, size, qos, window, .. } = self.options;
        let latencies = PERCENTILES.iter().map(|(name, percent)| {
            ((*name).to_owned(), json!(self.percentile(*percent).as_secs_f64() * 1e6))
        });
        json!({
            "mode": self.mode,
            "clients": clients,
            "payload_bytes": size,
            "qos": *qos as u8,
            "window": window,
            "expected": self.sums.expected,
            "done": self.sums.latencies.len(),
            "seconds": self.sums.took.as_secs_f64(),
            "per_second": self.rate(),
            "latency_us": Value::Object(latencies.collect()),
        })
    }

    /// Draws the throughput over time, and below it the latency.
    pub(super) fn draw(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let slices = &self.sums.slices;
        let at = |index: usize| end_of(index).as_secs_f64();
        let rate: Vec<_> = slices
            .iter()
            .enumerate()
            .map(|(index, slice)| (at(index), slice.count as f64 / end_of(0).as_secs_f64()))
            .collect();
        let busy = || slices.iter().enumerate().filter(|(_, slice)| slice.count > 0);
        let mean: Vec<_> = busy()
            .map(|(index, slice)| (at(index), slice.sum.as_secs_f64() * 1e3 / slice.count as f64))
            .collect();
        let longest: Vec<_> =
            busy().map(|(index, slice)| (at(index), slice.longest.as_secs_f64() * 1e3)).collect();
        let area = SVGBackend::new(path, (900, 600)).into_drawing_area();
        area.fill(&WHITE)?;
        let (above, below) = area.split_vertically(300);
        let what = format!("{} a second", self.unit());
        draw_curves(&above, &what, &[("", BLUE, &rate)])?;
        draw_curves(&below, "latency, ms", &[("mean", BLUE, &mean), ("longest", RED, &longest)])?;
        area.present()?;
        Ok(())
    }
}

type Curve<'a> = (&'a str, RGBColor, &'a [(f64, f64)]);

fn draw_curves<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    what: &str,
    curves: &[Curve<'_>],
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let all = || curves.iter().flat_map(|(_, _, points)| points.iter());
    let most = |pick: fn(&(f64, f64)) -> f64| all().map(pick).fold(0.0, f64::max).max(1e-9);
    let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.05);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart.configure_mesh().x_desc("seconds").y_desc(what).draw()?;
    for (name, colour, points) in curves {
        let series = chart.draw_series(LineSeries::new(points.iter().copied(), colour))?;
        if !name.is_empty() {
            let colour = *colour;
            let line = move |(x, y)| PathElement::new([(x, y), (x + 15, y)], colour);
            series.label(*name).legend(line);
        }
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    Ok(())
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
