//! Numbers to one page that needs no network, and each figure as a file.
//!
//! `cargo run -p samtone-report --example page -- FOLDER`

use std::path::Path;

use samtone_report::{Curve, KeyValues, LearningCurves, Report, Section};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("expected FOLDER")?;
    write(folder.as_ref())
}

fn write(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let points = (1..=50).map(|step| (f64::from(step), 2.0 / f64::from(step)));
    let losses =
        LearningCurves::new("Loss", "step", "nats").curve(Curve::new("mine", points.collect()));
    let setting = KeyValues::new("Run").row("seed", 0).row("batch", 64);
    let report = Report::new("A training")
        .section(Section::new("Curves").figure(losses))
        .section(Section::new("Setting").figure(setting));
    report.write_figures(folder.join("figures"))?;
    report.write(folder.join("report.html"))?;
    Ok(())
}

#[test]
fn the_page_is_there() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    assert!(folder.path().join("report.html").is_file());
    Ok(())
}
