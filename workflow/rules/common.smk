# What all files of rules use: the checked configuration, names of files, resources that grow with each attempt.
import functools
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import validate

try:
    from bindrae.config import EXECUTION_KEYS, resolve_config
    from bindrae.data.index import batch_of, files_changed
    from bindrae.data.layout import (
        SHIPPED_NAME,
        SIDES,
        DataLayout,
        RunLayout,
        weights_file,
    )
    from bindrae.data.stages import VERSIONS
    from bindrae.data.storage import (
        read_json,
        read_table,
        rejected_path,
        sha256_file,
        sha256_text,
        sidecar_path,
    )
    from bindrae.errors import BindraeError
    from bindrae.evaluation.grid import configuration_of, read_grid
except ImportError as error:
    raise WorkflowError(
        f"the package bindrae cannot be imported by {sys.executable}: {error}",
        "install it beside Snakemake: `make demo`, or `pip install -e .` in this environment",
    )

# Jobs find the command `bindrae` even when the environment is not activated (.venv/bin/snakemake), and what it prints
# shows at once although it goes through `tee`.
os.environ.update(
    PATH=os.pathsep.join(
        [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    ),
    PYTHONUNBUFFERED="1",
)


def with_nulls(value):
    """Snakemake gives all values inside `--config section={key: value}` as text; only null needs help."""
    if isinstance(value, dict):
        return {key: with_nulls(inner) for key, inner in value.items()}
    return None if value == "null" else value


try:
    files = [os.path.relpath(file) for file in workflow.configfiles]
    CONFIG = resolve_config(with_nulls(config), " + ".join(files) or "config")
except BindraeError as error:
    raise WorkflowError(str(error))
validate(
    CONFIG.model_dump(mode="json"),
    "../schemas/config.schema.json",
    set_default=False,
)

DATA = DataLayout(Path("results", CONFIG.dataset, "data"))
RUN = RunLayout(Path("results", CONFIG.dataset, "runs", CONFIG.run))
ENSEMBLE = RUN.ensemble
MEMBER = ENSEMBLE.member("{seed}")
ROOT = Path(CONFIG.root).expanduser() if CONFIG.root else None
BATCHES = range(CONFIG.index.n_batches)
TRAININGS = ("train", "ensemble_train", "ablation_train")
# The demo fits a laptop and the smallest node of a cluster.
DEMO = CONFIG.index.layout == "demo"


wildcard_constraints:
    batch=r"\d\d\d\d+",


class AnyBatch(int):
    """Stands for a batch's number where the layout names a file, so that rules get a pattern."""

    def __format__(self, _spec: str) -> str:
        return "{batch}"


def output_of(stage: str) -> str:
    """Main output of a stage that runs batch by batch."""
    return str(DATA.batch(stage, AnyBatch()))


def sidecar_of(stage: str) -> str:
    """Settings, hashes and counts beside that output."""
    return str(sidecar_path(Path(output_of(stage))))


def rejected_of(stage: str) -> str:
    """Rejected complexes beside that output."""
    return str(rejected_path(Path(output_of(stage))))


def files_of(stage: str) -> list[str]:
    """All that a stage writes for one batch; `embed` rejects nothing."""
    files = [output_of(stage), sidecar_of(stage)]
    return files if stage == "embed" else [*files, rejected_of(stage)]


def shard_of(side: str, suffix: str) -> str:
    """Facts (.parquet) or tensors (.pt) of one side of a batch."""
    return str(DATA.shard(side, AnyBatch()).with_suffix(suffix))


def every_batch(pattern: str | list[str]) -> list[str]:
    """The files of all batches, from one pattern or several."""
    return expand(pattern, batch=[f"{number:04d}" for number in BATCHES])


def all_shards() -> list[str]:
    """The shards of all sides and batches."""
    return [
        file
        for side in SIDES
        for suffix in (".parquet", ".pt")
        for file in every_batch(shard_of(side, suffix))
    ]


def predicted_folders() -> list[str]:
    """Folders of predicted structures, one a batch; none when the configuration asks for no prediction."""
    if CONFIG.prediction.weights == "none":
        return []
    return every_batch(str(RUN.predicted(AnyBatch())))


def fitted_if_asked(made, fitted) -> str:
    """Model file that evaluation and prediction use: that of the rule `fitted`, where a fit is asked for."""
    return (fitted if CONFIG.refinement.fit else made).output.model


def weights_of(name: str | None) -> str:
    """Hash of a model file that a setting names: others under the same name make its rule run again."""
    if name is None or not weights_file(name).is_file():
        return "none"
    return sha256_file(weights_file(name))


def prediction_options() -> list[str]:
    """Options of `bindrae predict` that the configuration sets."""
    wanted = CONFIG.prediction
    return [
        f"--samples {wanted.samples}",
        "--refine" if wanted.refine else "--no-refine",
        "--geometry" if wanted.geometry else "--no-geometry",
        f"--backbone {wanted.backbone}",
    ]


def log_of(name: str) -> str:
    """Log of a job on the data: `<stage>` or `<stage>/{batch}`."""
    return str(DATA.root / "logs" / f"{name}.log")


def benchmark_of(name: str) -> str:
    """Seconds and memory of such a job."""
    return str(DATA.root / "benchmarks" / f"{name}.tsv")


def run_log_of(name: str) -> str:
    """Log of a job on the training run."""
    return str(RUN.root / "logs" / f"{name}.log")


def run_benchmark_of(name: str) -> str:
    """Seconds and memory of such a job."""
    return str(RUN.root / "benchmarks" / f"{name}.tsv")


def settings_of(
    section: str, without: frozenset[str] = frozenset(), config=CONFIG
) -> str:
    """One section of the configuration, every default spelled out: a job reruns only when its own section changes."""
    section_settings = getattr(config, section).model_dump(
        mode="json", exclude={"preset", *without}
    )
    return json.dumps(section_settings, sort_keys=True)


def member_training(wildcards):
    """The recipe of one network of an ensemble."""
    return CONFIG.ensemble.member(int(wildcards.seed), CONFIG.training)


def member_settings(wildcards, without: frozenset[str] = frozenset()) -> str:
    """The same, as a job gets it."""
    update = {"training": member_training(wildcards)}
    return settings_of("training", without, CONFIG.model_copy(update=update))


def whole_config() -> str:
    """The configuration as the report shows it; the model's preset is already merged in."""
    return json.dumps(
        CONFIG.model_dump(mode="json", exclude={"model": {"preset"}}), sort_keys=True
    )


def threads_of(wanted: int) -> int:
    """Threads of a rule; Snakemake lowers them to what --cores allows."""
    return min(wanted, 2) if DEMO else wanted


def memory(mb: int):
    """Memory that grows with each attempt, so that `--retries` helps a job that ran out of it."""
    first = min(mb, 4000) if DEMO else mb
    return lambda wildcards, attempt: first * attempt


def minutes(amount: int):
    """Time that grows with each attempt."""
    first = min(amount, 60) if DEMO else amount
    return lambda wildcards, attempt: first * attempt


def on_gpus(count: int) -> dict:
    """Resources of a job that needs so many GPUs of one node; none when it needs no GPU.

    Partition and model belong to the site. They are read here and not in the profile, which cannot tell whether the
    configuration sends a job to a GPU at all.
    """
    if count == 0:
        return {}
    site = {
        "slurm_partition": os.environ.get("BINDRAE_SLURM_GPU_PARTITION", "").strip(),
        "gpu_model": os.environ.get("BINDRAE_SLURM_GPU_MODEL", "").strip(),
    }
    return {
        "gpu": count,
        "nodes": 1,
        **{name: value for name, value in site.items() if value},
    }


def dataset_files() -> list[str]:
    """What makes the index rerun: the sheet, or the folder, whose time changes when a complex comes or goes."""
    if CONFIG.index.layout == "demo":
        return []
    folder = ROOT / "coreset"
    if CONFIG.index.layout in ("casf2016", "pdbbind") and folder.is_dir():
        return [str(folder)]
    if not ROOT.exists() and not DATA.entries.exists():
        raise WorkflowError(
            f"root: {ROOT} does not exist",
            "set `root:` in the config file to where the complexes are, or pass --config root=FOLDER",
        )
    return [str(ROOT)]


def changed_since_index(most: int = 10_000) -> bool:
    """Whether files inside the dataset's folders changed since the index, which the folder's time does not show.

    To see it takes three calls to the file system a complex, so larger datasets are left to `snakemake -R index`, and
    jobs on other nodes do not look. An index that is missing or was made with other settings runs anyway.
    """
    sidecar = sidecar_path(DATA.entries)
    if not workflow.is_main_process or not DATA.batches.is_file():
        return False
    if not sidecar.is_file() or not ROOT or not ROOT.exists():
        return False
    made = read_json(sidecar)
    asked = contract_of("index")
    if made["counts"]["in"] > most or any(made[key] != asked[key] for key in asked):
        return False
    try:
        batches = files_changed(DATA, ROOT, CONFIG.index)
    except BindraeError:
        return True  # the index says what is wrong
    if batches:
        logger.info(
            f"Files of batch(es) {', '.join(map(str, batches))} changed; the index runs again."
        )
    return bool(batches)


def dataset_of_index(wildcards) -> list[str]:
    """Input of the index, which is made to run where its time alone would not."""
    if changed_since_index():
        workflow.dag.forcerules.add(workflow.get_rule("index"))
    return dataset_files()


def benchmark_files() -> list[str]:
    """Clean tables of the dataset to test on; split runs again when they change."""
    if CONFIG.split.benchmark is None:
        return []
    other = DataLayout(Path(CONFIG.split.benchmark).expanduser())
    if other.batches.is_file():
        tables = [other.batch("clean", number) for number in other.batch_numbers()]
        if all(table.is_file() for table in tables):
            return [str(table) for table in tables]
    raise WorkflowError(
        f"split.benchmark: {other.root} holds no prepared dataset",
        "prepare it first, up to clean: `snakemake clean --configfile ITS_CONFIG`",
    )


def contract_of(stage: str) -> dict:
    """What index and split are asked for, in the form of their sidecars: a dry run sees from it that they change."""
    settings = getattr(CONFIG, stage).model_dump(mode="json")
    if stage == "index":
        settings = {"root": str(ROOT) if ROOT else None, **settings}
    return {"version": VERSIONS[stage], "settings": settings}


def ancient_while_kept(stage: str, table: Path):
    """The table of index or split as an input that reruns nothing by its time alone, while its contract is kept.

    The jobs that take it compare in a parameter what it says about their batch.
    """

    def file(wildcards):
        sidecar = sidecar_path(table)
        made = read_json(sidecar) if sidecar.is_file() else {}
        asked = contract_of(stage)
        kept = all(made.get(key) == value for key, value in asked.items())
        return ancient(str(table)) if kept else str(table)

    return file


def entries_of_batch(wildcards) -> str:
    """Fingerprint of a batch's entries: only batches whose entries changed are cleaned again.

    Reads what is there instead of asking `checkpoints.index.get()`: that leaves the parameter open until the index is
    known to be up to date, and Snakemake 9 then reruns all that depends on `clean`. The function is called again when
    the index has run, because it is a checkpoint.
    """
    if not DATA.batches.is_file():
        return "no index yet"
    return read_json(DATA.batches).get(str(int(wildcards.batch)), "not in the index")


@functools.lru_cache(maxsize=1)
def split_by_batch(changed_ns: int) -> dict[int, str]:
    """Fingerprint of each batch's rows of the split; read anew when the file's time differs."""
    rows = defaultdict(list)
    for row in read_table(DATA.split).to_pylist():
        batch = batch_of(row["id"], CONFIG.index.n_batches)
        rows[batch].append(" ".join(row.values()))
    return {batch: sha256_text("\n".join(lines)) for batch, lines in rows.items()}


def sides_of_batch(wildcards) -> str:
    """Fingerprint of a batch's rows of the split: a batch whose complexes keep side and cluster is not packed again."""
    if not DATA.split.is_file():
        return "no split yet"
    by_batch = split_by_batch(DATA.split.stat().st_mtime_ns)
    return by_batch.get(int(wildcards.batch), "not in the split")


def index_rejections(wildcards) -> str:
    """Fingerprint of what the index rejected, which touches no batch."""
    rejected = rejected_path(DATA.entries)
    return sha256_file(rejected) if rejected.is_file() else "no index yet"


def whole_stage(stage: str):
    """The files of a stage for all batches, as an input function."""

    def files(wildcards) -> list[str]:
        if stage in workflow.dag_settings.forcerun:
            # `-R pocket` names the target, which does no work itself: without this, nothing would be rerun.
            workflow.dag.forcerules.add(workflow.get_rule(f"{stage}_batch"))
        return every_batch(sidecar_of(stage))

    return files


def jobs_left_running() -> list[str]:
    """Numbers of Slurm jobs that an earlier Snakemake, gone since, submitted from this folder."""
    if shutil.which("squeue") is None:
        return []
    columns = ["--noheader", "--format=%i|%j|%Z", "--user", str(os.getuid())]
    try:
        listed = subprocess.run(
            ["squeue", *columns], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return []
    rows = [line.split("|", 2) for line in listed.stdout.splitlines()]
    own = [
        number
        for number, name, folder in rows
        if name.startswith("bindrae_") and Path(folder).resolve() == Path.cwd()
    ]
    return sorted(own, key=int)


def checkpoints_of_forced() -> list[Path]:
    """Checkpoints of trainings that are forced (-R train): these start over; from there they would go on instead."""
    given = workflow.dag_settings
    return [
        RunLayout(Path(job.output.model).parent).checkpoints
        for job in workflow.dag.needrun_jobs()
        if job.rule.name in TRAININGS
        and (given.forceall or job.rule.name in given.forcerun)
    ]


# Before the first job. Two jobs that write the same files at once would spoil each other's work.
onstart:
    left = jobs_left_running()
    if left:
        raise WorkflowError(
            f"{len(left)} Slurm job(s) of an earlier run are still at work in this folder: {', '.join(left)}",
            f"wait until they end (`squeue --jobs {','.join(left)}`), or stop them: `scancel {' '.join(left)}`. "
            "Then give the same command again",
        )
    for checkpoints in checkpoints_of_forced():
        shutil.rmtree(checkpoints, ignore_errors=True)
