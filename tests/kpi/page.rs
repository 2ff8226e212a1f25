//! The page and the terminal: what is shown, and in which order.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{HEADER, by_hand, flicker, kpi, run_of};
use crate::browser::Browser;
use crate::seeking::{WITHIN_A_FRAME, numbered, shown_number};

#[test]
fn streams_are_told_in_the_order_in_which_people_count() {
    let rows = ["s10", "s2", "s1"].map(|name| format!("{name},0,0,0,1,0,0,9,9,a,a,1\n"));
    let run = run_of(&[("faces.csv", &format!("{HEADER}{}", rows.concat()))]);
    let (code, told, errors) = kpi(&[&run.path().display().to_string()]);
    assert_eq!(code, 0, "{errors}");
    let places = ["\n  s1 ", "\n  s2 ", "\n  s10 "].map(|name| told.find(name));
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{told}"
    );
    for file in ["kpi.json", "kpi.html"] {
        let text = fs::read_to_string(run.path().join(file)).unwrap();
        let places: Vec<usize> = ["\"s1\":", "\"s2\":", "\"s10\":"]
            .iter()
            .flat_map(|name| text.match_indices(name).next())
            .map(|(at, _)| at)
            .collect();
        assert!(places.len() == 3 && places.is_sorted(), "{file}");
    }
}

#[test]
fn on_a_telephone_the_verdict_is_to_be_seen() {
    let restless = run_of(&[("faces.csv", &flicker("x", 5, 30))]);
    let calm = run_of(&[("faces.csv", &flicker("x", 25, 30))]);
    let out = tempfile::tempdir().unwrap();
    let out_text = out.path().display().to_string();
    let runs = [restless.path(), calm.path()].map(|run| run.display().to_string());
    let (code, _, errors) = kpi(&[&runs[0], &runs[1], "--out", &out_text]);
    assert_eq!(code, 0, "{errors}");
    let script = "const wide = document.querySelector('#diff .wide'), verdicts = wide.querySelectorAll('td.text').length; \
        document.title = `${verdicts > 5 ? 'verdicts' : 'no verdicts'}, ${wide.scrollWidth - wide.clientWidth} px off`;";
    let dom = shown(&out.path().join("kpi.html"), script);
    assert!(dom.contains("<title>verdicts, 0 px off</title>"), "{dom}");
}

/// Returns the page's DOM after its script and this one have run, in a narrow window.
pub(super) fn shown(page: &Path, script: &str) -> String {
    let text = fs::read_to_string(page).unwrap();
    let tried = page.with_file_name("tried.html");
    fs::write(
        &tried,
        text.replace("</body>", &format!("<script>{script}</script></body>")),
    )
    .unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=5000",
            "--window-size=500,900",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", tried.display()))
        .output();
    let output = output.expect("chromium: run `make setup-test`");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_page_shows_the_numbers_and_a_click_shows_the_frame_of_a_flip() {
    let (faces, truth) = by_hand();
    let run = run_of(&[("faces.csv", &faces), ("truth.csv", &truth), ("x.mp4", "")]);
    let (code, _, errors) = kpi(&[&run.path().display().to_string()]);
    assert_eq!(code, 0, "{errors}");
    let page = run.path().join("kpi.html");
    let text = fs::read_to_string(&page).unwrap();
    assert!(
        !text.contains("http://")
            || text.matches("http://").count()
                == text.matches("http://www.w3.org/2000/svg").count()
    );
    assert!(!text.contains("https://"));
    let script =
        "document.querySelector('.flip').dispatchEvent(new MouseEvent('click', {bubbles: true}));";
    let dom = shown(&page, script);
    assert!(
        dom.contains("<th scope=\"row\">Streaming accuracy</th><td>75.0 %</td>"),
        "{dom}"
    );
    assert!(dom.contains("flips 4 raw, 4 smoothed"), "{dom}");
    assert!(dom.contains("aria-label=\"not known: there is no report.json\""));
    assert!(dom.contains("src=\"x.mp4\""), "{dom}");
    assert!(dom.contains("<p id=\"playing\">x, 0.26 s</p>"), "{dom}");
}

/// A real video, in a browser that plays it.
#[test]
fn a_click_on_a_flip_seeks_to_its_frame() {
    let mut browser = Browser::of_files();
    let run = run_of(&[("faces.csv", &flicker("x", 5, 30))]);
    let video = numbered(run.path(), 200, "x.mp4");
    assert!(video.status.success(), "{video:?}");
    let (code, _, errors) = kpi(&[&run.path().display().to_string()]);
    assert_eq!(code, 0, "{errors}");
    let page = run.path().join("kpi.html");
    browser.go(&format!("file://{}", page.display()));
    browser.wait_for("document.querySelectorAll('.flip').length > 1");
    let flips = browser.value("document.querySelectorAll('.flip').length");
    for flip in [0, flips.as_u64().unwrap() - 1] {
        let time = browser.value(&format!(
            "(() => {{ const flip = document.querySelectorAll('.flip')[{flip}];
                flip.dispatchEvent(new MouseEvent('click', {{bubbles: true}}));
                return parseFloat(flip.getAttribute('aria-label').replace('flip at ', '')); }})()"
        ));
        let time = time.as_f64().unwrap();
        browser.wait_for(&format!(
            "((video) => !video.seeking && video.readyState >= 2 && Math.abs(video.currentTime - {time}) < 0.01)(document.querySelector('video'))"
        ));
        let number = shown_number("document.querySelector('video')");
        browser.wait_for(&format!(
            "{number} === {}",
            (time * 5.0 + WITHIN_A_FRAME) as u64
        ));
    }
}
