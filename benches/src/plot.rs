//! Pictures of what was measured.

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::growth::Curve;
use crate::measure::{self, Row};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws how the cost of a message grows, both axes logarithmic.
pub fn curve(curve: &Curve) -> io::Result<()> {
    let mut picture = String::new();
    draw(&SVGBackend::with_string(&mut picture, (520, 320)).into_drawing_area(), curve)
        .map_err(io::Error::other)?;
    measure::write(&format!("growth-{}.svg", curve.name), &picture)
}

fn draw(area: &Area<'_>, curve: &Curve) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Nothing has no logarithm.
    let points: Vec<(f64, f64)> =
        curve.points.iter().map(|(x, y)| ((*x).max(1) as f64, *y)).collect();
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(1.0, f64::max);
    let (right, top) =
        (most(&mut points.iter().map(|it| it.0)), most(&mut points.iter().map(|it| it.1)));
    let bottom = points.iter().fold(f64::INFINITY, |least, it| least.min(it.1));
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("ns each, by {}", curve.of), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (1.0..right * 1.2).log_scale(),
            (bottom / 3.0..top * 3.0).log_scale(),
        )?;
    let plain = |value: &f64| value.to_string();
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&plain)
        .y_label_formatter(&plain)
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE))?;
    let dots = points.iter().map(|point| Circle::new(*point, 3, BLUE.filled()));
    chart.draw_series(dots)?;
    area.present()?;
    Ok(())
}

/// Draws the cases of one version as groups of bars, a contender each, on a logarithmic scale.
pub fn bars(name: &str, title: &str, rows: &[&Row]) -> io::Result<()> {
    let mut picture = String::new();
    let height = 40 + 16 * rows.len() as u32;
    draw_bars(
        &SVGBackend::with_string(&mut picture, (800, height)).into_drawing_area(),
        title,
        rows,
    )
    .map_err(io::Error::other)?;
    measure::write(&format!("{name}.svg"), &picture)
}

fn draw_bars(
    area: &Area<'_>,
    title: &str,
    rows: &[&Row],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    const LEFT: i32 = 370;
    const WIDTH: f64 = 340.0;
    area.fill(&WHITE)?;
    let font = ("sans-serif", 12).into_font();
    area.draw_text(title, &("sans-serif", 15).into_font().into(), (8, 8))?;
    let extreme = |pick: fn(f64, f64) -> f64, from| {
        rows.iter().fold(from, |so_far, row| pick(so_far, row.time.median))
    };
    let (least, most) = (extreme(f64::min, f64::INFINITY) / 2.0, extreme(f64::max, 0.0));
    let mut last = "";
    for (index, row) in rows.iter().enumerate() {
        let y = 34 + 16 * index as i32;
        if row.case != last {
            area.draw_text(&row.case, &font.clone().into(), (8, y))?;
        }
        last = &row.case;
        area.draw_text(row.name, &font.clone().into(), (130, y))?;
        let share = (row.time.median / least).ln() / (most / least).ln();
        let end = LEFT + (share * WIDTH) as i32;
        let ours = row.name.starts_with("mqtt-async");
        let colour = if ours { RGBColor(40, 90, 200) } else { RGBColor(170, 170, 170) };
        area.draw(&Rectangle::new([(LEFT, y), (end, y + 11)], colour.filled()))?;
        let value = format!("{:.2}", row.time.median / 1000.0);
        area.draw_text(&value, &font.clone().into(), (end + 5, y))?;
    }
    area.present()?;
    Ok(())
}
