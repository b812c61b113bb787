# A grid of trainings on the same shards, each evaluated, and one table that compares them: `snakemake ablation`.


use rule train as ablation_train with:
    output:
        model=str(GRID_RUN.model),
        metrics=str(GRID_RUN.metrics),
        training=str(GRID_RUN.training),
    log:
        str(GRID_RUN.root / "logs" / "train.log"),
    benchmark:
        str(GRID_RUN.root / "benchmarks" / "train.tsv")
    wildcard_constraints:
        row=r"[A-Za-z0-9][A-Za-z0-9._-]*",
        seed=r"\d+",
    params:
        data=DATA.root,
        run=lambda wildcards: grid_run(wildcards.row, wildcards.seed).root,
        model=lambda wildcards: grid_settings(wildcards, "model"),
        settings=lambda wildcards: grid_settings(wildcards, "training", EXECUTION_KEYS),
        init=lambda wildcards: weights_of(grid_config(wildcards).training.init),
        version=VERSIONS["train"],
        carried_out=lambda wildcards, resources: grid_settings(wildcards, "training"),
        launch=lambda wildcards, resources: LAUNCH,
        resumable=lambda wildcards, resources: RESUMABLE,


use rule evaluate as ablation_evaluate with:
    input:
        batches=ancient(rules.index.output.batches),
        shards=all_shards(),
        model=rules.ablation_train.output.model,
    output:
        evaluation=str(GRID_RUN.evaluation),
        residues=str(GRID_RUN.residues),
    log:
        str(GRID_RUN.root / "logs" / "evaluate.log"),
    benchmark:
        str(GRID_RUN.root / "benchmarks" / "evaluate.tsv")
    wildcard_constraints:
        row=r"[A-Za-z0-9][A-Za-z0-9._-]*",
        seed=r"\d+",
    params:
        data=DATA.root,
        run=lambda wildcards: grid_run(wildcards.row, wildcards.seed).root,
        settings=lambda wildcards: grid_settings(wildcards, "evaluation"),
        version=VERSIONS["evaluate"],


rule ablation:
    input:
        runs=grid_evaluations,
        grid=ancient(str(GRID)),
    output:
        table=str(ABLATION / "ablation.json"),
        page=report(
            str(ABLATION / "ablation.html"),
            caption="../report/ablation.rst",
            category="Runs",
            labels={
                "dataset": CONFIG.dataset,
                "run": ABLATION.name,
                "page": "ablation",
            },
        ),
    log:
        str(ABLATION / "logs" / "ablation.log"),
    conda:
        "../envs/bindrae.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        folder=ABLATION,
        # Labels and the reference; what a row changes reruns its training by itself.
        grid=lambda wildcards: grid().model_dump_json(),
    shell:
        "bindrae ablation --folder {params.folder} --grid {input.grid} 2>&1 | tee {log}"
