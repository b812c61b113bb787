# What the rules of ablation.smk use: the grid, the files and the configuration of each of its trainings.
GRID = Path(CONFIG.ablation)
ABLATION = RUN.root.parent / GRID.stem


def grid():
    """The grid, read only when a rule of this file is asked for."""
    try:
        return read_grid(GRID)
    except BindraeError as error:
        raise WorkflowError(str(error))


def grid_run(row: str, seed):
    """Files of one training of the grid."""
    return RunLayout(ABLATION / f"{row}-{seed}")


GRID_RUN = grid_run("{row}", "{seed}")


def grid_config(wildcards):
    """The configuration of a training of the grid."""
    try:
        return configuration_of(grid(), wildcards.row, int(wildcards.seed), CONFIG)
    except BindraeError as error:
        raise WorkflowError(str(error))


def grid_settings(
    wildcards, section: str, without: frozenset[str] = frozenset()
) -> str:
    """One section of a training's configuration, as `settings_of` gives that of a plain run."""
    return settings_of(section, without, grid_config(wildcards))


def grid_evaluations(wildcards) -> list[str]:
    """What the table compares."""
    wanted = grid()
    runs = [grid_run(row, seed) for row in wanted.rows for seed in wanted.seeds]
    return [str(file) for run in runs for file in (run.evaluation, run.residues)]
