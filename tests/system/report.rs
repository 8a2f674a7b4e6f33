//! `sirocco report` from outside, and its page in a browser: at the width of a phone and of a desk, in
//! light and dark, with hostile records. Pictures are for people; what is held here is what a browser says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::process::Directory;
use crate::tools::CHROMIUM;

/// A kept record with what older ones lack: stages and a limit.
fn whole_record() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/records/dispatch.json");
    let text = fs::read_to_string(path).expect("a kept record");
    let mut record: Value = serde_json::from_str(&text).expect("JSON");
    record["stages"] = json!({
        "clock": "tsc", "wall_ns": 1000, "sum_ns": 999,
        "stage_ns": { "receive": 100, "parse": 399, "submit": 300, "idle": 200 },
        "train_lengths": [0, 1, 2, 3, 400],
    });
    let probe = |rate: f64, p99: f64, judgement: &str| {
        json!({ "rate_per_s": rate, "judgement": judgement, "ihs_share": p99 / 1e6, "loss_share": 0.0,
                "latency_us": { "p50": 100.0, "p99": p99, "p999": p99 * 2.0 } })
    };
    record["limit"] = json!({
        "words": "1 M/s held.", "rate_per_s": 1e6, "interval": { "low": 0.9e6, "high": 1.1e6 },
        "knee": [probe(5e5, 300.0, "passed"), probe(1e6, 900.0, "passed"), probe(2e6, 9e4, "failed")],
    });
    let interval = |at: u32, rate: u32| {
        json!({ "at_s": f64::from(at) / 10.0, "offered": rate, "sent": rate, "answered": rate - 1, "in_flight": at,
                "behind": 0, "sessions": 0, "p50_us": 90, "p99_us": 100 * (at + 1), "max_us": 900 })
    };
    record["runs"][0]["load"] = json!({
        "shape": "ramp 0..1k/1s", "interval_ms": 100,
        "series": (0..20).map(|at| interval(at, at + 1)).collect::<Vec<_>>(),
    });
    record
}

/// A history of 30 nights, the last ten slower by a tenth.
fn history() -> String {
    let night = |night: u32| {
        let slow = if night < 20 { 1.0 } else { 1.1 };
        let cpu = slow * (400.0 + f64::from(night * 7 % 5));
        let line = json!({
            "schema": "sirocco.history/1", "night_unix_s": 1_800_000_000 + night, "commit": format!("c{night:03}"),
            "host_key": "host", "scenario": "null", "settings": "s", "attempts": 1,
            "verdict": { "valid": true, "passed": true, "reasons": [] },
            "counters": {}, "times": { "cpu_ns_per_sir": [cpu, cpu, cpu] },
        });
        format!("{line}\n")
    };
    (0..30).map(night).collect()
}

/// A plan in the form that `sirocco plan --json` writes.
fn plan() -> Value {
    let line = json!({ "name": "workers", "section": "engine", "words": "workers for the worst second", "unit": "",
        "value": 7.0, "low": 6.0, "high": 9.0, "extrapolated": [{ "factor": "identities a worker", "times": 4.0 }] });
    json!({ "schema": "sirocco.plan/1", "assumptions": { "subscribers": 1e7 }, "lines": [line],
            "fits": { "words": "ten machines are enough" }, "limits": ["it was measured on two cores"] })
}

fn report(folder: &Directory, arguments: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_sirocco"))
        .current_dir(folder.path())
        .arg("report")
        .args(arguments)
        .output()
        .expect("a command that starts");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).expect("text"))
}

fn keep(folder: &Directory, name: &str, record: &Value) -> PathBuf {
    let path = folder.file(name);
    fs::write(&path, record.to_string()).expect("a writable folder");
    path
}

/// What a browser says of a page: a script that knows the page's nonce writes it into the page.
const PROBE: &str = r#"
window.addEventListener("load", () => {
  const root = document.documentElement;
  const texts = [...document.querySelectorAll("figure svg text")];
  const beyond = texts.filter((text) => {
    const own = text.getBoundingClientRect(), all = text.ownerSVGElement.getBoundingClientRect();
    return own.left < all.left - 1 || own.right > all.right + 1;
  });
  const small = texts.filter((text) => text.getBoundingClientRect().height < 9);
  const dead = [...document.querySelectorAll("a[href^='#']")]
    .filter((a) => !document.getElementById(a.getAttribute("href").slice(1)));
  const data = [...document.querySelectorAll("script[type='application/json']")]
    .map((script) => JSON.parse(script.textContent).schema);
  parent.postMessage(JSON.stringify({
    width: innerWidth, page: root.scrollWidth,
    beyond: beyond.map((text) => text.textContent), small: small.length, texts: texts.length,
    figures: document.querySelectorAll("figure svg").length, dead: dead.length, data,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    ground: getComputedStyle(root).backgroundColor, title: document.title,
    foreign: document.querySelectorAll("img, iframe, object, embed, link[rel=stylesheet]").length,
    scripts: [...document.scripts].filter((script) => script.type === "").length,
    sortable: document.querySelectorAll("th button").length,
  }), "*");
});
"#;

/// Shows the probed page as wide as a phone, which no window of the browser is, and keeps what it says.
const FRAME: &str = r#"<!doctype html><meta name="color-scheme" content="light dark">
<script>addEventListener("message", (event) => { document.documentElement.dataset.found = event.data; });</script>
<iframe src="probed.html" style="border:0;width:WIDTHpx;height:HEIGHTpx"></iframe>"#;

/// What is shown of a page: what the probe found, and what the browser complained of.
struct Shown {
    found: Value,
    complaints: Vec<String>,
}

fn show(
    browser: &Path,
    folder: &Directory,
    page: &str,
    (width, height): (u32, u32),
    dark: bool,
) -> Shown {
    let html = fs::read_to_string(folder.file(page)).expect("a page");
    let nonce = html
        .split("<script nonce=\"")
        .nth(1)
        .expect("a script with a nonce");
    let nonce = nonce.split('"').next().expect("a closed attribute");
    let probed = folder.file("probed.html");
    let probe = format!("<script nonce=\"{nonce}\">{PROBE}</script></body>");
    fs::write(&probed, html.replace("</body>", &probe)).expect("a writable folder");
    let frame = FRAME
        .replace("WIDTH", &width.to_string())
        .replace("HEIGHT", &height.to_string());
    let framed = folder.file("framed.html");
    fs::write(&framed, frame).expect("a writable folder");
    let scheme = if dark { 0 } else { 1 };
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            "--dump-dom",
            "--hide-scrollbars",
        ])
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!(
            "--user-data-dir={}",
            folder.file("browser").display()
        ))
        .arg(format!("--window-size={},{}", width + 40, height + 40))
        .arg(format!("file://{}", framed.display()))
        .output()
        .expect("a browser that starts");
    let dom = String::from_utf8_lossy(&output.stdout).replace("&quot;", "\"");
    let logged = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = dom
        .split("data-found=\"")
        .nth(1)
        .and_then(|rest| rest.split("}\"").next());
    let found = found.unwrap_or_else(|| panic!("the probe did not run: {logged}"));
    let console = logged.lines().filter(|line| line.contains("CONSOLE"));
    Shown {
        found: serde_json::from_str(&format!("{found}}}")).expect("JSON"),
        complaints: console.map(str::to_owned).collect(),
    }
}

/// Where a page is read: on a phone, on a desk.
const WINDOWS: [(u32, u32); 2] = [(390, 844), (1280, 800)];

#[test]
fn the_page_is_whole_on_a_phone_and_on_a_desk_in_light_and_dark() {
    let Some(browser) = CHROMIUM.path_or_skip("the_page_is_whole_on_a_phone_and_on_a_desk") else {
        return;
    };
    let folder = Directory::new("report-page");
    keep(&folder, "whole.json", &whole_record());
    let mut invalid = whole_record();
    invalid["verdict"] = json!({ "valid": false, "passed": true, "reasons": ["a busy machine"] });
    keep(&folder, "invalid.json", &invalid);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/records");
    let kept =
        ["addressing.json", "sessions.json"].map(|name| kept.join(name).display().to_string());
    fs::write(folder.file("nights.jsonl"), history()).expect("a writable folder");
    keep(&folder, "plan.json", &plan());
    let mut arguments = vec!["whole.json", "invalid.json", &kept[0], &kept[1]];
    arguments.extend([
        "-o",
        "page.html",
        "--history",
        "nights.jsonl",
        "--plan",
        "plan.json",
    ]);
    let (code, text) = report(&folder, &arguments);
    assert_eq!(code, Some(0), "{text}");
    let mut grounds = Vec::new();
    for window in WINDOWS {
        for dark in [false, true] {
            let Shown { found, complaints } = show(&browser, &folder, "page.html", window, dark);
            assert_eq!(complaints, Vec::<String>::new(), "{window:?}");
            assert_eq!(found["width"], window.0);
            assert_eq!(
                found["page"], window.0,
                "the page is wider than the window: {found}"
            );
            assert_eq!(found["beyond"], json!([]), "texts beyond their drawing");
            assert_eq!(found["small"], 0, "texts too small to read: {found}");
            assert_eq!(found["dead"], 0, "links that lead nowhere");
            assert_eq!(found["requests"], json!([]), "something was loaded");
            assert_eq!(found["data"], json!(vec!["sirocco.record/1"; 4]));
            assert!(found["figures"].as_u64() > Some(10) && found["sortable"].as_u64() > Some(5));
            grounds.push(found["ground"].as_str().expect("a colour").to_owned());
        }
    }
    assert_eq!((&grounds[0], &grounds[1]), (&grounds[2], &grounds[3]));
    assert_ne!(grounds[0], grounds[1], "dark looks like light");
}

#[test]
fn an_invalid_record_is_stamped_and_every_figure_is_a_file() {
    let folder = Directory::new("report-files");
    let mut record = whole_record();
    record["verdict"] = json!({ "valid": false, "passed": true, "reasons": ["a busy machine"] });
    keep(&folder, "invalid.json", &record);
    let (code, text) = report(
        &folder,
        &["invalid.json", "-o", "page.html", "--svg", "drawn"],
    );
    assert_eq!(code, Some(0), "{text}");
    let page = fs::read_to_string(folder.file("page.html")).expect("a page");
    assert!(page.contains("<li>a busy machine</li>"));
    let files: Vec<PathBuf> = fs::read_dir(folder.file("drawn"))
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    // Knee, attempts handled, latency, three of the load, stages, trains.
    assert_eq!(files.len(), 8, "{files:?}");
    for file in files {
        let svg = fs::read_to_string(&file).expect("a drawing");
        assert!(svg.contains(">INVALID</text>"), "{file:?}");
        assert!(
            svg.contains("fill=\"#ffffff\"") && !svg.contains("var("),
            "{file:?}"
        );
        assert!(page.contains(&svg), "{file:?} is not the page's");
    }
}

#[test]
fn a_history_shows_its_change_and_a_plan_its_tables() {
    let folder = Directory::new("report-history");
    fs::write(folder.file("nights.jsonl"), history() + "{\"torn").expect("a writable folder");
    keep(&folder, "plan.json", &plan());
    let arguments = [
        "--history",
        "nights.jsonl",
        "--plan",
        "plan.json",
        "-o",
        "page.html",
    ];
    let (code, text) = report(&folder, &arguments);
    assert_eq!(code, Some(0), "{text}");
    let page = fs::read_to_string(folder.file("page.html")).expect("a page");
    for words in [
        "% (worse) at c020</text>",
        "A step between c019 and c020",
        "its last line was cut off",
        "ten machines are enough",
        "identities a worker 4 times beyond",
        "it was measured on two cores",
        "id=\"data-history\"",
        "id=\"data-plan\"",
    ] {
        assert!(page.contains(words), "{words}");
    }
    fs::write(folder.file("plan.json"), "no plan").expect("a writable folder");
    let (code, text) = report(&folder, &arguments);
    assert_eq!(code, Some(2));
    assert!(text.contains("sirocco plan --json"), "{text}");
}

#[test]
fn a_hostile_record_is_text() {
    let folder = Directory::new("report-hostile");
    let script = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
    let text = whole_record().to_string();
    let mut record: Value = serde_json::from_str(&text).expect("JSON");
    for place in ["scenario", "commit", "version"] {
        record[place] = script.into();
    }
    record["host"]["cpu_model"] = script.into();
    record["command_line"] = json!(["sirocco", script]);
    record["verdict"]["reasons"] = json!([script, "{{ nonce }}", "]]>", "<!--"]);
    record["limit"]["words"] = script.into();
    record["stages"]["stage_ns"][script] = 5.into();
    record["addressing"] =
        json!([{ "mode": script, "orders": 1e300, "messages": -1e300, "octets": "many" }]);
    record["stages"]["train_lengths"] = json!([0, -5, 1e308, 1e308, null, script]);
    record["sirs_per_s"] = script.into();
    record["runs"][0]["load"]["shape"] = script.into();
    record["runs"][0]["load"]["series"][3] = script.into();
    keep(&folder, "latest.json", &record);
    let mut strange = plan();
    strange["lines"][0]["words"] = script.into();
    strange["assumptions"][script] = script.into();
    keep(&folder, "plan.json", &strange);
    let named = format!("\"scenario\":{}", json!(script));
    let nights = history().replace("\"scenario\":\"null\"", &named);
    fs::write(folder.file("nights.jsonl"), nights).expect("a writable folder");
    let mut arguments = vec!["latest.json", "-o", "page.html"];
    arguments.extend(["--history", "nights.jsonl", "--plan", "plan.json"]);
    let (code, text) = report(&folder, &arguments);
    assert_eq!(code, Some(0), "{text}");
    let page = fs::read_to_string(folder.file("page.html")).expect("a page");
    assert!(!page.contains("<script>document") && !page.contains("<img"));
    let Some(browser) = CHROMIUM.path_or_skip("a_hostile_record_is_text") else {
        return;
    };
    let Shown { found, complaints } = show(&browser, &folder, "page.html", WINDOWS[0], false);
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!(
        (&found["title"], &found["foreign"]),
        (&json!("Sirocco report"), &json!(0))
    );
    // The page's own and the probe.
    assert_eq!(found["scripts"], 2);
    assert_eq!(found["page"], WINDOWS[0].0, "{found}");
}

#[test]
fn a_report_of_nothing_says_what_to_give() {
    let folder = Directory::new("report-nothing");
    let (code, text) = report(&folder, &[]);
    assert_eq!(code, Some(4));
    assert!(text.contains("name records"), "{text}");
    fs::write(folder.file("other.json"), "{}").expect("a writable folder");
    let (code, text) = report(&folder, &["other.json"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("sirocco bench --json"), "{text}");
    assert!(!folder.file("report.html").exists());
}
