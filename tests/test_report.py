"""generate_report.py on fixture logs: golden texts, traceable numbers, hostile answers, stale reports.

Run: python -m pytest tests/test_report.py. After a wanted change: PYTHONPATH=. python tests/test_report.py
writes the golden files anew; read their diff.
"""

import copy
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import generate_report
from legalqa.errors import UserError
from legalqa.report import cells, conclusions, markdown
from legalqa.report.logs import Log, RunLogs, Shelf, choose
from legalqa.report.markdown import ABSENT
from legalqa.report.numbers import (
    duration,
    gigabytes,
    interval,
    number,
    percent,
    plural,
    points,
    real,
    scientific,
)
from legalqa.report.pictures import PICTURES
from legalqa.report.words import LANGUAGES
from legalqa.scoring.metric_table import METRICS, metric_names
from legalqa.typed_json import is_number

FIXTURES = Path(__file__).parent / "fixtures"
DRAWN = {name: f"plots/{name}.png" for name in tuple(PICTURES)[:-1]}  # the last one was not drawn
ACTS = {"labor_code": "Трудовой кодекс Республики Казахстан"}


def fixture_logs(name="logs"):
    return choose(Shelf(FIXTURES / name))


def render(logs, language, pictures=DRAWN):
    return generate_report.render_report(logs, language, pictures, ACTS)


def golden(language):
    return FIXTURES / f"RESULTS.{language}.md"


@pytest.mark.parametrize("language", LANGUAGES)
def test_report_is_the_golden_one(language):
    assert render(fixture_logs(), language) == golden(language).read_text("utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_rendering_changes_nothing_and_repeats(language):
    logs = fixture_logs()
    before = copy.deepcopy(logs)
    first = render(logs, language)
    assert logs == before and render(logs, language) == first


def parsed(cell, language):
    """(number, half a unit of its last digit) at the start of a table cell."""
    text = re.match(r"[+−]?[\d\u00a0,.]*\d", cell)[0].replace("−", "-")
    text = text.replace("\u00a0", "").replace(",", ".") if language == "ru" else text.replace(",", "")
    return float(text), 0.501 * 10.0 ** -len(text.partition(".")[2])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_keyed_number_is_in_the_named_file(language):
    """Tables with a key column: the file named under the table has that key, with the value shown."""
    logs = {log.name: log for log in fixture_logs() if log}
    text, checked = golden(language).read_text("utf-8"), 0
    for block in text.split("\n## "):
        source = re.search(r"\*(?:Источник|Source): `(logs/[^`]+)`, (?:ключи во|keys in the) ", block)
        for label, key, cell in re.findall(
            r"^\| ([^|]+) \| `([\w.]+)` \| ([^|]+) \|", block if source else "", flags=re.M
        ):
            if "." not in key and key not in logs[source[1]].data:
                continue  # the benchmark's own table, checked below
            value = conclusions.lookup(logs[source[1]], key)
            checked += 1
            if value is None:
                assert cell == ABSENT, label
            elif is_number(value) and not re.search("·10|мин|min", cell):
                shown, half = parsed(cell.strip("`"), language)
                assert any(abs(shown - value / unit) <= half for unit in (1, 1e9)), (label, cell, value)
    assert checked >= 50


def assert_cells(cells, scores, language):
    """Each cell shows the mean and, where there is one, the interval of its score."""
    for cell, score in zip(cells, scores, strict=True):
        if score["mean"] is None:
            assert cell == ABSENT
            continue
        assert parsed(cell, language)[0] == pytest.approx(100 * score["mean"], abs=0.051)
        bounds = re.search(r"\[(.+)\]", cell)[1].split("; " if language == "ru" else ", ")
        bounds = [parsed(bound, language)[0] for bound in bounds]
        assert bounds == pytest.approx([100 * bound for bound in score["ci95"]], abs=0.051)


@pytest.mark.parametrize("language", LANGUAGES)
def test_benchmark_cells_are_means_and_bounds_of_the_named_files(language):
    summaries = [log.data["summary"] for log in (fixture_logs().base, fixture_logs().benchmark)]
    section = golden(language).read_text("utf-8").split("\n## ")[7].split("\n### ")[0]
    rows = dict(
        re.findall(r"^\| [^|]+ [↑↓] \| `(\w+)` \| ([^|]+ \| [^|]+) \| [^|]+ \| [^|]+ \|$", section, re.M)
    )
    assert tuple(rows) == metric_names("published", "text", "health")
    for name, row in rows.items():
        assert_cells(row.split(" | "), [summary["metrics"][name] for summary in summaries], language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_citation_cells_are_those_of_the_questions_that_name_no_article_then_of_the_others(language):
    summaries = [log.data["summary"] for log in (fixture_logs().base, fixture_logs().benchmark)]
    section = golden(language).read_text("utf-8").split("\n## ")[7]
    rows = re.findall(
        r"^\| [^|]+ ↑ \| `(citation_\w+|has_\w+)` \| (не |not )?[^|]+ \| ([^|]+ \| [^|]+) \|", section, re.M
    )
    assert [name for name, _, _ in rows] == [*metric_names("citation")] * 2
    assert [bool(negated) for _, negated, _ in rows] == [True] * 5 + [False] * 5
    for name, negated, row in rows:
        group = "unnamed" if negated else "named"
        scores = [summary["by_named_article"][group]["metrics"][name] for summary in summaries]
        assert_cells(row.split(" | "), scores, language)


def test_base_models_echo_is_not_in_the_headline():
    """Its one right citation repeats the question: 10 % of all answers, none of those that count."""
    base = fixture_logs().base.data["summary"]
    assert base["metrics"]["citation_f1"]["mean"] == 0.1
    text = render(fixture_logs(), "ru")
    assert "F1 ссылок на статьи по вопросам, в которых статья не названа: 66,7" in text
    assert "у базовой модели 0,0\u00a0% [" in text.split("F1 ссылок на статьи")[1].split("\n")[0]


def test_metric_names_are_those_that_are_computed():
    from legalqa.scoring import metrics

    record = {"instruction": "Каков срок?", "input": "", "output": "Три дня."}
    assert list(metrics.score_sample(record, "Да.")["scores"]) == list(METRICS)
    lower = {name for name, metric in METRICS.items() if metric.better == "lower"}
    assert lower == {name for name in METRICS if name.endswith("_rate")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_languages_have_the_same_tables_and_sections(language):
    def skeleton(text):
        return [line.count("|") for line in text.splitlines() if line.startswith(("|", "#"))]

    ru, en = (golden(code).read_text("utf-8") for code in LANGUAGES)
    assert skeleton(ru) == skeleton(en)
    ours = re.sub(r"(?m)^\| (Question|Reference answer|Model's answer|Citations|`).*$", "", en)
    assert not re.search("[а-яё]", ours, re.IGNORECASE)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["few", "nan", "resumed"])
def test_missing_stages_say_so(name, language):
    text = render(fixture_logs(name), language, {})
    absent = cells.NOT_RUN[language]
    assert text.lower().count(absent) >= 6 and "None" not in text and "Undefined" not in text
    assert ("python benchmark.py" in text) and ("| — |" in text)


def test_each_log_alone_renders():
    logs = fixture_logs()
    for keep in ("config", "metrics", "benchmark", "base"):
        alone = RunLogs(**{keep: getattr(logs, keep)})
        for language in LANGUAGES:
            assert render(alone, language, {}).startswith("*")


def test_unfinished_run_names_its_last_step():
    text = render(fixture_logs("resumed"), "ru")
    assert "не завершено: последняя запись — шаг 120 (`resumed/history_20260302_090000.jsonl`)" in text


# ---- Conclusions


UNNAMED = "summary.by_named_article.unnamed.metrics"


def fired(logs, language="en"):
    form = cells.Cells(logs, ACTS, language).form
    return {(item.name, item.metric): item.fired for item in conclusions.draw(logs, form)}


def with_value(logs, stage, key, value):
    log = getattr(logs, stage)
    log = log._replace(data=copy.deepcopy(log.data))
    target = log.data
    *path, last = key.split(".")
    for part in path:
        target = target[part]
    target[int(last) if isinstance(target, list) else last] = value
    return logs._replace(**{stage: log})


@pytest.mark.parametrize(
    "rule, stage, key, value, expected",
    [
        ("eval_rising", "metrics", "min_eval_loss", 2.19 / 1.03, True),
        ("eval_rising", "metrics", "min_eval_loss", 2.1900, False),
        ("no_gain", "metrics", "eval_loss", 3.0512, True),
        ("still_falling", "metrics", "min_eval_loss", 2.1901, True),
        ("broken_loss", "metrics", "history", [{"step": 1, "loss": math.nan}], True),
        ("weak_citations", "benchmark", f"{UNNAMED}.citation_recall.mean", 0.499, True),
        ("weak_citations", "benchmark", f"{UNNAMED}.citation_recall.mean", 0.5, False),
        ("weak_citations", "benchmark", f"{UNNAMED}.citation_recall.mean", None, None),
        ("weak_citations", "benchmark", "summary.metrics.citation_recall.mean", 0.1, False),
        ("invented", "benchmark", f"{UNNAMED}.citation_exists.mean", 0.96, False),
        ("echo", "benchmark", f"{UNNAMED}.citation_recall.ci95", [0.0, 0.2], False),
        (
            "echo",
            "benchmark",
            "summary.by_named_article.named.metrics.citation_recall.ci95",
            [0.9, 1.0],
            True,
        ),
        ("language_gap", "benchmark", "summary.by_language.kk.metrics.word_f1.ci95", [0.1, 0.2], True),
        ("memorised", "benchmark", "summary.by_seen_article.unseen.metrics.overall.ci95", [0.1, 0.2], True),
        ("cut_off_rate", "benchmark", "summary.metrics.cut_off_rate.mean", 0.06, True),
        ("wide_interval", "benchmark", "summary.metrics.overall.ci95", [0.5, 0.55], False),
        ("dropped", "config", "meta.data.train.num_dropped", 5, True),
    ],
)
def test_rules_follow_their_condition(rule, stage, key, value, expected):
    assert fired(with_value(fixture_logs(), stage, key, value))[rule, ""] is expected


@pytest.mark.parametrize(
    "bounds, expected", [([0.01, 0.2], "better"), ([-0.2, -0.01], "worse"), ([0.0, 0.1], "unclear")]
)
def test_exactly_one_verdict_of_a_paired_difference(bounds, expected):
    found = fired(with_value(fixture_logs(), "compare", "metrics.overall.ci95", bounds))
    assert [name for name in ("better", "worse", "unclear") if found[name, "overall"]] == [expected]


def test_verdict_on_citations_is_of_the_questions_that_name_no_article():
    logs = with_value(fixture_logs(), "compare", "metrics.citation_f1.ci95", [-0.9, -0.1])
    logs = with_value(logs, "compare", "by_named_article.unnamed.metrics.citation_f1.ci95", [0.1, 0.9])
    assert fired(logs)["better", "citation_f1"] and not fired(logs)["worse", "citation_f1"]
    assert "- F1 ссылок (статья в вопросе не названа): дообученная модель лучше базовой" in render(logs, "ru")


def test_rules_without_their_log_are_undecided():
    found = fired(fixture_logs("few"))
    assert found["better", "overall"] is None and found["weak_citations", ""] is None
    assert found["dropped", ""] is False


def test_weak_acts_are_named_with_the_recommendation():
    logs = with_value(fixture_logs(), "benchmark", f"{UNNAMED}.citation_recall.mean", 0.2)
    text = render(logs, "ru")
    assert "с низкой полнотой: Трудовой кодекс Республики Казахстан (`labor_code`)." in text


# ---- Examples


def test_examples_are_the_extremes_and_never_both():
    def sample(name, overall):
        return {"id": name, "scores": {"overall": overall}}

    def ids(*scores):
        log = Log("x", "x", {"samples": [sample(f"s{i}", score) for i, score in enumerate(scores)]})
        best, worst = generate_report.examples(log)
        return [s["id"] for s in best], [s["id"] for s in worst]

    assert ids(0.1, 0.9, 0.5, 0.7, 0.3, 0.8, 0.2) == (["s1", "s5", "s3"], ["s0", "s6", "s4"])
    assert ids(0.5, 0.5, 0.5) == (["s0", "s1"], ["s2"])  # equal: by id
    assert ids(0.5) == (["s0"], []) and ids() == ([], []) and ids(None, 0.4) == (["s1"], [])


def test_long_answers_are_cut_and_say_so():
    text = "а" * 2315
    assert generate_report.cut(text, "ru").endswith("… (показано 500 знаков из 2\u00a0315)")
    assert generate_report.cut("", "ru") == "—"


HOSTILE = [
    "a | b\n| c | d |",
    "<script>alert(1)</script>",
    "```\n# heading\n---",
    "[x](javascript:alert(1)) ![i](http://e.example/p.png)",
    "**b** _i_ ~~s~~ `c` \\| $x$",
    "&lt; &#60;",
    "http://e.example www.e.example",
    "\u202eabc\u0000\x1b[31m",
    "\ud800 half",
    "-->",
    "{{ 7 * 7 }} {% raw %}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_stay_text_in_their_cell(text):
    logs = fixture_logs()
    data = copy.deepcopy(logs.benchmark.data)
    worst = min(data["samples"], key=lambda sample: sample["scores"]["overall"])
    worst.update(prediction=text, instruction=text, id=text)
    worst["citations"]["prediction"] = [{"act": text, "article": text, "text": text, "exists": False}]
    data["meta"].update(model=text, command=text, versions={text: text})
    data["summary"]["by_act"] = {text: data["summary"]["by_act"]["labor_code"]}
    hostile = render(logs._replace(config=None, benchmark=logs.benchmark._replace(data=data)), "en")
    hostile.encode("utf-8")
    cells = [
        re.sub(r"\\\\|\\\|", "", line).count("|") for line in hostile.splitlines() if line.startswith("|")
    ]
    assert set(cells) <= {3, 4, 5, 6, 7, 9}
    assert not re.search("[\u202a-\u202e\x00-\x09\x0b-\x1f]", hostile)
    html = to_html(hostile)
    assert set(re.findall(r"<(\w+)", html)) == {
        "p",
        "em",
        "code",
        "h1",
        "h2",
        "h3",
        "ul",
        "li",
        "img",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "pre",
    }
    assert re.findall(r'<img src="([^"]+)"', html) == list(DRAWN.values())
    ours = to_html(golden("en").read_text("utf-8"))
    assert re.findall(r"<h[1-6]>(.*)</h[1-6]>", html) == re.findall(r"<h[1-6]>(.*)</h[1-6]>", ours)


def to_html(text):
    return pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table").render(text)


def test_hostile_markdown_renders_as_the_same_text():
    for text in HOSTILE:
        html = to_html(f"| a |\n|---|\n| {markdown.escape_markdown(text)} |\n| z |\n")
        assert html.count("<td>") == 2 and not re.search("<(script|a|img) ?", html), text
        assert "<strong>" not in html and "<code>" not in html and "<em>" not in html


def test_code_cannot_leave_its_backticks():
    assert markdown.code("a`b|c\nd") == "`a'b¦c d`"
    assert markdown.code("") == "—"


def test_template_refuses_an_unformatted_number():
    with pytest.raises(TypeError, match="unformatted"):
        markdown.as_markdown(0.5)


# ---- Command


def run_main(tmp_path, *flags, logs="logs"):
    return generate_report.main(
        [
            "--logs-dir",
            str(FIXTURES / logs),
            "--plots-dir",
            str(tmp_path / "plots"),
            "--report-file",
            str(tmp_path / "RESULTS.md"),
            *flags,
        ]
    )


def test_command_writes_and_checks(tmp_path, capsys):
    assert run_main(tmp_path, "--check") == 1
    assert "does not exist; run: python generate_report.py" in capsys.readouterr().err
    assert run_main(tmp_path) == 0
    out = capsys.readouterr().out
    assert "metrics    logs/metrics_20260301_100000.json" in out
    assert "next: python chat.py --model finetuned_demo" in out
    assert run_main(tmp_path, "--check") == 0
    report = tmp_path / "RESULTS.md"
    text = report.read_text("utf-8")
    assert text.startswith("*Файл создан командой `python generate_report.py`")
    report.write_text(text.replace("52,6", "62,6", 1), "utf-8")
    capsys.readouterr()
    assert run_main(tmp_path, "--check") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and re.search(r"is stale: line \d+ differs", err)
    assert report.read_text("utf-8") == text.replace("52,6", "62,6", 1)  # --check writes nothing


def test_english_and_run_by_flag(tmp_path):
    run_main(tmp_path, "--language", "en", "--run", "20260301_094500")
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert text.startswith("*Generated by")
    assert "benchmark_20260301_094500" in text and "metrics_2026" not in text


@pytest.mark.slow
def test_only_pictures_of_these_logs_are_shown(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    import generate_plots

    generate_plots.main(["--logs-dir", str(FIXTURES / "logs"), "--plots-dir", str(tmp_path / "plots")])
    (tmp_path / "plots" / "citations.png").write_bytes(b"not a picture")
    run_main(tmp_path)
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "![Потери при обучении](plots/training_loss.png)" in text and "(plots/citations.png)" not in text
    assert "citations.png was not drawn from the logs of this report" in capsys.readouterr().err
    run_main(tmp_path, logs="few")
    assert "plots/training_loss.png" not in (tmp_path / "RESULTS.md").read_text("utf-8")


@pytest.mark.parametrize("stage", ["generate_report.py", "generate_plots.py"])
def test_help_imports_nothing_heavy(stage):
    script = f"""
import runpy, sys
sys.argv = ["{stage}", "--help"]
try:
    runpy.run_path("{stage}", run_name="__main__")
except SystemExit:
    print([name for name in ("numpy", "matplotlib", "jinja2", "torch", "PIL") if name in sys.modules])
"""
    repository = FIXTURES.parent.parent
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True)
    assert done.stdout.endswith("[]\n") and "--logs-dir" in done.stdout and "--run" in done.stdout


def test_user_errors(tmp_path):
    with pytest.raises(UserError, match="unknown language 'fr'; known: ru, en"):
        run_main(tmp_path, "--language", "fr")
    with pytest.raises(UserError, match="no logs in .*; run: python train_8b.py"):
        generate_report.main(["--logs-dir", str(tmp_path)])


# ---- Numbers as people write them


@pytest.mark.parametrize(
    "count, expected",
    [
        (1, "шаг"),
        (2, "шага"),
        (5, "шагов"),
        (11, "шагов"),
        (21, "шаг"),
        (22, "шага"),
        (112, "шагов"),
        (121, "шаг"),
        (0, "шагов"),
    ],
)
def test_russian_plural(count, expected):
    assert plural(count, "шаг", "шага", "шагов") == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        (number(21303, "ru"), "21\u00a0303"),
        (number(21303, "en"), "21,303"),
        (number(-0.0001, "ru", 2), "0,00"),
        (number(math.nan, "ru"), "NaN"),
        (number(-math.inf, "en"), "−∞"),
        (number(None, "ru"), "—"),
        (real(0.0002, "ru"), "0,0002"),
        (real(3.0, "en"), "3"),
        (percent(0.2671, "ru", 2), "26,71\u00a0%"),
        (percent(0.2671, "en"), "26.7%"),
        (interval([0.1, 0.25], "ru"), "[10,0; 25,0]"),
        (points(0.042, "ru"), "+4,2"),
        (points(-0.042, "en"), "−4.2"),
        (duration(86147, "ru"), "23\u00a0ч 55\u00a0мин 47\u00a0с"),
        (duration(59.96, "en"), "1\u00a0min 0\u00a0s"),
        (duration(4.25, "ru"), "4,2\u00a0с"),
        (scientific(2e-4, "ru"), "2·10⁻⁴"),
        (scientific(0, "ru"), "0"),
        (gigabytes(11.2e9, "ru"), "11,2\u00a0ГБ"),
    ],
)
def test_number_formats(text, expected):
    assert text == expected


if __name__ == "__main__":
    for code in LANGUAGES:
        golden(code).write_text(render(fixture_logs(), code), "utf-8")
