"""Where a verb writes when --out is not given."""

from pathlib import Path

from resmlp.hub.default_out import default_out


def test_default_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "w.v2.pth").touch()
    assert default_out("run", "inspect") == Path("run/inspect")
    assert default_out(str(tmp_path / "w.v2.pth"), "export") == Path("export/w.v2")
    assert default_out("resmlp_s12.fb_in1k", "inspect") == Path("inspect/resmlp_s12.fb_in1k")
    assert default_out("hf-hub:me/../../x", "inspect") == Path("inspect/hf-hub_me_.._.._x")
    assert default_out("..", "inspect") == Path("../inspect")
