"""What benchmark.py --files measures, on a small file."""

import json
import os

import cluster


def test_it_measures_and_prints(run, fails, trained, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ray", None)  # it takes seconds to start
    cores = os.sched_getaffinity(0)
    output = tmp_path / "files.json"
    flags = ["--files", 300, "--dataset", dataset, "--checkpoint", trained, "--output", output]
    flags += ["--transformer", "none", "--threads", len(cores)]
    code, printed, stderr = run("benchmark.py", *flags)
    assert code == 0, stderr
    assert os.sched_getaffinity(0) == cores
    result = json.loads(output.read_text())
    lstm, linear = result["runs"][0]["rows"]
    assert lstm["rows"] == linear["rows"] == 300
    assert lstm["rows_per_second"] > 0 and lstm["model_rows_per_second"] > 0
    assert linear["model_rows_per_second"] is None
    small, large = result["memory"]
    assert (small["rows"], large["rows"]) == (300, 7500)
    assert 20e6 < small["peak_bytes"] < 1e9
    assert run("benchmark.py", "--print", output)[1] == printed
    del result["memory"][0]["seconds"]
    output.write_text(json.dumps(result))
    assert "files.json: not a result" in fails("benchmark.py", "--print", output)
    assert "--files" in fails("benchmark.py", "--files", 10)
    flags[flags.index(trained)] = "me/none"
    assert "no folder me/none" in fails("benchmark.py", *flags)
