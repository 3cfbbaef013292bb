"""Data versions on real Git and DVC: what is recorded, what is left alone, and what happens when it breaks off."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sigap.data.git import Git
from sigap.data.versions import DataVersions
from sigap.errors import VersionError
from tests.conftest import Checkout
from tests.data.conftest import in_another_process, write_snapshot

POINTER = "data/raw/education_snapshot.parquet.dvc"
DVC = [sys.executable, "-m", "dvc"]


def test_versions_are_named_listed_and_pushed(checkout: Checkout) -> None:
    settings = checkout.settings()
    versions = DataVersions(settings)
    assert versions.current("education") is None
    assert versions.list("education") == []

    write_snapshot(settings, b"one")
    first = versions.record("education")
    write_snapshot(settings, b"two")
    second = versions.record("education", "v_2025_Q1")
    write_snapshot(settings, b"three")
    third = versions.record("education")

    assert [first.name, second.name, third.name] == ["v1", "v_2025_Q1", "v2"]
    assert all(version.created for version in (first, second, third))
    assert {version.name for version in versions.list("education")} == {"v1", "v_2025_Q1", "v2"}
    current = versions.current("education")
    assert current is not None
    assert (current.name, current.md5, current.commit) == ("v2", third.md5, third.commit)
    assert first.tag == "education/v1"
    assert checkout.git("rev-parse", "education/v1^{commit}") == first.commit
    assert checkout.git("show", "--format=", "--name-only", first.commit) == POINTER
    assert checkout.git("status", "--porcelain") == ""
    for version in (first, second, third):
        assert (settings.state / "dvc-remote/files/md5" / version.md5[:2] / version.md5[2:]).is_file()


def test_the_same_data_is_the_same_version(checkout: Checkout) -> None:
    settings = checkout.settings()
    versions = DataVersions(settings)
    write_snapshot(settings, b"one")
    first = versions.record("education")
    head = checkout.git("rev-parse", "HEAD")
    again = versions.record("education", "another_name")
    assert (again.name, again.created) == ("v1", False)
    assert checkout.git("rev-parse", "HEAD") == head

    write_snapshot(settings, b"two")
    versions.record("education")
    write_snapshot(settings, b"one")
    back = versions.record("education")
    assert (back.name, back.md5, back.created) == ("v1", first.md5, False)
    assert checkout.git("log", "-1", "--format=%s") == "Return education data to v1"
    assert checkout.git("tag") == "education/v1\neducation/v2"


def test_a_name_used_for_other_data_is_refused(checkout: Checkout) -> None:
    settings = checkout.settings()
    versions = DataVersions(settings)
    write_snapshot(settings, b"one")
    versions.record("education", "v_2025_Q1")
    before = checkout.git("rev-parse", "HEAD"), checkout.git("show", f"HEAD:{POINTER}")
    write_snapshot(settings, b"two")
    with pytest.raises(VersionError, match=r"education/v_2025_Q1 exists already and holds other data"):
        versions.record("education", "v_2025_Q1")
    assert (checkout.git("rev-parse", "HEAD"), checkout.git("show", f"HEAD:{POINTER}")) == before


@pytest.mark.parametrize("name", ["", "a b", "../up", "a..b", "-x", "x.lock", "uncommitted-1", "ü", "a~1", "a/b"])
def test_names_that_no_tag_can_have_are_refused(checkout: Checkout, name: str) -> None:
    with pytest.raises(VersionError, match="can't be the name"):
        DataVersions(checkout.settings()).check_name("education", name)


def test_nobodys_work_and_no_hook_takes_part(checkout: Checkout) -> None:
    root, git = checkout.root, checkout.git
    for name in ("staged", "both", "unstaged", "deleted"):
        (root / name).write_text("before\n")
    git("add", "staged", "both", "unstaged", "deleted")
    git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "Work")
    (root / "staged").write_text("staged\n")
    (root / "both").write_text("staged\n")
    (root / "new").write_text("added\n")
    git("add", "staged", "both", "new")
    (root / "both").write_text("and then changed\n")
    (root / "unstaged").write_text("changed\n")
    (root / "untracked").write_text("untracked\n")
    git("rm", "-q", "--cached", "deleted")
    for hook in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"):
        path = root / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {root / 'hook-ran'}\nexit 1\n")
        path.chmod(0o755)
    quiet = ("-c", "core.hooksPath=/dev/null")
    before = git(*quiet, "status", "--porcelain"), git("diff"), git("diff", "--cached")

    write_snapshot(checkout.settings(), b"one")
    version = DataVersions(checkout.settings()).record("education")

    assert (git(*quiet, "status", "--porcelain"), git("diff"), git("diff", "--cached")) == before
    assert git("show", "--format=", "--name-only", version.commit) == POINTER
    assert not (root / "hook-ran").exists()


def test_unborn_head_detached_head_and_no_identity(make_checkout: Callable[..., Checkout]) -> None:
    unborn = make_checkout("unborn", commit=False)
    write_snapshot(unborn.settings(), b"one")
    version = DataVersions(unborn.settings()).record("education")
    assert unborn.git("rev-parse", "main") == version.commit
    assert unborn.git("log", "--format=%an <%ae>") == "Sigap <sigap@localhost>"

    detached = make_checkout("detached")
    detached.git("checkout", "--quiet", "--detach")
    detached.git("config", "user.name", "Somebody")
    detached.git("config", "user.email", "somebody@example.org")
    branch = detached.git("rev-parse", "main")
    write_snapshot(detached.settings(), b"one")
    version = DataVersions(detached.settings()).record("education")
    assert detached.git("rev-parse", "HEAD") == version.commit
    assert detached.git("rev-parse", "main") == branch
    assert detached.git("log", "-1", "--format=%an <%ae>") == "Somebody <somebody@example.org>"


def test_a_merge_that_is_not_finished_is_not_committed_into(checkout: Checkout) -> None:
    git = checkout.git
    git("config", "user.name", "T")
    git("config", "user.email", "t@example.org")
    for branch, text in (("other", "theirs\n"), ("main", "ours\n")):
        git("checkout", "-q", *(("-b", branch) if branch == "other" else (branch,)))
        (checkout.root / "file").write_text(text)
        git("add", "file")
        git("commit", "-qm", branch)
    with pytest.raises(subprocess.CalledProcessError):
        git("merge", "other")
    write_snapshot(checkout.settings(), b"one")
    with pytest.raises(VersionError, match=r"A merge is not finished .*`git merge --abort`"):
        DataVersions(checkout.settings()).record("education")
    assert git("tag") == ""


def test_without_git_or_with_committing_off(make_checkout: Callable[..., Checkout]) -> None:
    checkout = make_checkout()
    settings = checkout.settings(git_commit=False)
    head = checkout.git("rev-parse", "HEAD")
    write_snapshot(settings, b"one")
    version = DataVersions(settings).record("education")
    assert version.name == f"uncommitted-{version.md5[:8]}"
    assert (checkout.git("rev-parse", "HEAD"), checkout.git("tag")) == (head, "")
    assert DataVersions(settings).current("education") == version
    with pytest.raises(VersionError, match="SIGAP_GIT_COMMIT is off"):
        DataVersions(settings).record("education", "v_2025_Q1")

    bare = make_checkout("no-git")
    shutil.rmtree(bare.root / ".git")
    write_snapshot(bare.settings(), b"one")
    with pytest.raises(VersionError, match="is no Git checkout that can be used"):
        DataVersions(bare.settings()).record("education")
    without = DataVersions(bare.settings(git_commit=False)).record("education")
    assert without.name == version.name


def test_a_checkout_inside_a_larger_one(make_checkout: Callable[..., Checkout]) -> None:
    outer = make_checkout()
    inner = make_checkout("checkout/nested")
    shutil.rmtree(inner.root / ".git")
    write_snapshot(inner.settings(), b"one")
    versions = DataVersions(inner.settings())
    version = versions.record("education")
    assert outer.git("show", "--format=", "--name-only", version.commit) == f"nested/{POINTER}"
    assert versions.current("education") == versions.list("education")[0]
    write_snapshot(inner.settings(), b"two")
    versions.record("education")
    assert versions.restore("education", "v1").md5 == version.md5
    assert versions.path("education").read_bytes() == b"one"


def test_rollback_by_hand_and_by_restore(checkout: Checkout) -> None:
    settings = checkout.settings()
    versions = DataVersions(settings)
    path = write_snapshot(settings, b"one")
    first = versions.record("education")
    write_snapshot(settings, b"two")
    second = versions.record("education")

    checkout.git("checkout", "education/v1", "--", POINTER)
    subprocess.run([*DVC, "checkout", "--quiet"], cwd=checkout.root, check=True)
    assert path.read_bytes() == b"one"
    current = versions.current("education")
    assert current is not None
    assert current.name == "v1"

    (checkout.root / "README").write_text("staged\n")
    checkout.git("add", "README")
    assert versions.restore("education", "v2").md5 == second.md5
    assert path.read_bytes() == b"two"
    assert checkout.git("status", "--porcelain") == "A  README"
    assert versions.restore("education", "v1").md5 == first.md5
    assert path.read_bytes() == b"one"
    assert checkout.git("log", "-1", "--format=%s") == "Return education data to v1"
    assert checkout.git("show", "--format=", "--name-only") == POINTER
    assert checkout.git("tag") == "education/v1\neducation/v2"


def test_restore_without_committing(checkout: Checkout) -> None:
    settings = checkout.settings()
    path = write_snapshot(settings, b"one")
    DataVersions(settings).record("education")
    write_snapshot(settings, b"two")
    DataVersions(settings).record("education")
    head = checkout.git("rev-parse", "HEAD")
    DataVersions(checkout.settings(git_commit=False)).restore("education", "v1")
    assert path.read_bytes() == b"one"
    assert checkout.git("rev-parse", "HEAD") == head


def test_restore_fetches_from_the_remote_and_refuses_damaged_data(checkout: Checkout) -> None:
    settings = checkout.settings()
    versions = DataVersions(settings)
    path = write_snapshot(settings, b"one")
    first = versions.record("education")
    write_snapshot(settings, b"two")
    versions.record("education")
    with pytest.raises(VersionError, match=r"no data version education/v9\. Versions of education: v2, v1\."):
        versions.restore("education", "v9")

    cached = checkout.root / ".dvc/cache/files/md5" / first.md5[:2] / first.md5[2:]
    pushed = settings.state / "dvc-remote/files/md5" / first.md5[:2] / first.md5[2:]
    cached.chmod(0o644)
    cached.write_bytes(b"damaged")
    versions.restore("education", "v1")
    assert path.read_bytes() == b"one"
    versions.restore("education", "v2")

    for content in (b"damaged", None):
        shutil.rmtree(checkout.root / ".dvc/cache", ignore_errors=True)
        pushed.unlink(missing_ok=True)
        if content is not None:
            pushed.write_bytes(content)
        pointer, head = (checkout.root / POINTER).read_bytes(), checkout.git("rev-parse", "HEAD")
        with pytest.raises(VersionError, match=r"nor whole in the remote|in the remote .* is damaged"):
            versions.restore("education", "v1")
        assert path.read_bytes() == b"two"
        assert ((checkout.root / POINTER).read_bytes(), checkout.git("rev-parse", "HEAD")) == (pointer, head)


def test_a_stored_snapshot_is_read_whatever_lies_in_the_work_tree(checkout: Checkout) -> None:
    settings = checkout.settings()
    versions = DataVersions(settings)
    write_snapshot(settings, b"one")
    first = versions.record("education")
    write_snapshot(settings, b"two")
    with versions.lock():
        assert DataVersions(settings).stored("education", first.md5).read_bytes() == b"one"
    shutil.rmtree(checkout.root / ".dvc/cache")
    assert versions.stored("education", first.md5).read_bytes() == b"one"
    with pytest.raises(VersionError, match="nor whole in the remote"):
        versions.stored("education", "9" * 32)


def test_a_clone_gets_a_version_from_the_remote(checkout: Checkout, tmp_path: Path) -> None:
    settings = checkout.settings(dvc_remote_url=str(tmp_path / "shared-remote"))
    write_snapshot(settings, b"one")
    DataVersions(settings).record("education", "v_2025_Q1")
    checkout.git("clone", "--quiet", str(checkout.root), str(tmp_path / "clone"))
    clone = Checkout(tmp_path / "clone")
    versions = DataVersions(clone.settings(dvc_remote_url=str(tmp_path / "shared-remote")))
    assert versions.restore("education", "v_2025_Q1").name == "v_2025_Q1"
    assert versions.path("education").read_bytes() == b"one"
    assert clone.git("rev-parse", "HEAD") == checkout.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    "place",
    [
        "sigap.data.versions.DataVersions._store",
        "dvc.repo.Repo.push",
        "sigap.data.git.Git.commit_file",
        "sigap.data.git.Git.refresh_index",
    ],
    ids=["before dvc add", "between add and push", "between push and commit", "between commit and index"],
)
def test_what_a_killed_process_left_undone_is_finished(checkout: Checkout, place: str) -> None:
    settings = checkout.settings()
    write_snapshot(settings, b"one")
    versions = DataVersions(settings)
    versions.record("education")
    write_snapshot(settings, b"two")
    process = in_another_process(settings, f'killed_at("{place}"); DataVersions(settings).record("education")')
    output, _ = process.communicate(timeout=600)
    assert process.returncode == -9, output

    repaired = versions.record("education")

    assert repaired.name == "v2"
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("tag") == "education/v1\neducation/v2"
    assert checkout.git("log", "--format=%s") == "Record education data v2\nRecord education data v1\nBegin"
    assert (settings.state / "dvc-remote/files/md5" / repaired.md5[:2] / repaired.md5[2:]).is_file()
    assert subprocess.run([*DVC, "status", "--quiet"], cwd=checkout.root, check=False).returncode == 0


@pytest.mark.parametrize("half", [b"", b"outs:\n- md5: f97c5d2", b"<<<<<<< HEAD\nouts:\n"])
def test_half_a_pointer_is_written_anew(checkout: Checkout, half: bytes) -> None:
    settings = checkout.settings()
    write_snapshot(settings, b"one")
    versions = DataVersions(settings)
    versions.record("education")
    write_snapshot(settings, b"two")
    versions.pointer("education").write_bytes(half)
    assert versions.record("education").name == "v2"
    assert checkout.git("status", "--porcelain") == ""


def test_a_commit_whose_tag_is_missing_gets_it(checkout: Checkout) -> None:
    settings = checkout.settings()
    write_snapshot(settings, b"one")
    first = DataVersions(settings).record("education")
    checkout.git("tag", "-d", "education/v1")
    again = DataVersions(settings).record("education")
    assert (again.name, again.commit) == ("v1", first.commit)


def test_two_at_once_make_one_version(checkout: Checkout) -> None:
    settings = checkout.settings()
    write_snapshot(settings, b"one")
    script = 'v = DataVersions(settings).record("education"); print(v.name, v.created)'
    both = [in_another_process(settings, script) for _ in range(2)]
    outputs = [process.communicate(timeout=600)[0].strip() for process in both]
    assert sorted(outputs) == ["v1 False", "v1 True"]
    assert checkout.git("rev-list", "--count", "HEAD") == "2"


def test_waiting_for_another_process_has_an_end(checkout: Checkout) -> None:
    settings = checkout.settings(step_timeout_seconds=1)
    with (
        DataVersions(settings).lock(),
        pytest.raises(VersionError, match=r"Another process .* over 1 s .*data\.lock"),
        DataVersions(settings).lock(),
    ):
        pass


def test_a_commit_by_somebody_else_meanwhile_is_kept(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Git._new_commit
    calls = []

    def interrupted(self: Git, *arguments: object) -> str:
        commit = made(self, *arguments)  # type: ignore[arg-type]
        if not calls:
            checkout.git(
                "-c", "user.name=T", "-c", "user.email=t@e.org", "commit", "-q", "--allow-empty", "-m", "Theirs"
            )
        calls.append(commit)
        return commit

    monkeypatch.setattr(Git, "_new_commit", interrupted)
    write_snapshot(checkout.settings(), b"one")
    DataVersions(checkout.settings()).record("education")
    assert checkout.git("log", "--format=%s") == "Record education data v1\nTheirs\nBegin"
    assert len(calls) == 2


def test_a_locked_index_says_what_to_do_and_is_repaired(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigap.data.git._PAUSE_SECONDS", 0)
    lock = checkout.root / ".git" / "index.lock"
    lock.touch()
    path = write_snapshot(checkout.settings(), b"one")
    versions = DataVersions(checkout.settings())
    with pytest.raises(VersionError, match=r"is committed, but Git's index could not .*index\.lock"):
        versions.record("education")
    assert path.read_bytes() == b"one"
    lock.unlink()
    assert versions.record("education").name == "v1"
    assert checkout.git("status", "--porcelain") == ""


def test_an_unreachable_remote_leaves_the_last_version(checkout: Checkout, tmp_path: Path) -> None:
    settings = checkout.settings()
    write_snapshot(settings, b"one")
    DataVersions(settings).record("education")
    head, pointer = checkout.git("rev-parse", "HEAD"), (checkout.root / POINTER).read_bytes()
    (tmp_path / "no-folder").write_text("a file where the remote's folder should be")
    cut_off = DataVersions(checkout.settings(dvc_remote_url=str(tmp_path / "no-folder" / "remote")))
    draft = checkout.root / "data/raw/.education_snapshot.parquet.draft"
    draft.write_bytes(b"two")
    with pytest.raises(VersionError, match="DVC can't do its part"):
        cut_off.adopt("education", draft, "9" * 32)
    assert (checkout.git("rev-parse", "HEAD"), (checkout.root / POINTER).read_bytes()) == (head, pointer)
    assert cut_off.path("education").read_bytes() == b"one"
    assert checkout.git("status", "--porcelain") == ""
