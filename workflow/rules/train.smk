# From shards to the best model and its evaluation on a held-out side.


# One process a GPU; on CPUs they share the threads.
PROCESSES = CONFIG.training.processes
LAUNCH = (
    f"torchrun --standalone --nproc-per-node {PROCESSES} -m -- bindrae"
    if PROCESSES > 1
    else "bindrae"
)
# Beside this file, also where another workflow uses this one as a module; from a repository, Snakemake's copy.
HERE = workflow.current_basedir
RESUMABLE = (
    os.path.relpath(
        Path(HERE.get_path_or_uri(secret_free=True), "../scripts/resumable.sh")
    )
    if HERE.is_local
    else workflow.source_path("../scripts/resumable.sh")
)


# checkpoints/ is no output: Snakemake deletes outputs before a rerun, and a killed training resumes from there, unless
# its settings or data changed since, or it is forced (-R train).
rule train:
    input:
        batches=ancient(rules.index.output.batches),
        shards=all_shards(),
    output:
        model=str(RUN.model),
        metrics=str(RUN.metrics),
        training=str(RUN.training),
    log:
        run_log_of("train"),
    benchmark:
        run_benchmark_of("train")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(8)
    resources:
        **on_gpus(0 if CONFIG.training.device == "cpu" else PROCESSES),
        mem_mb=memory(16000),
        # Does not grow: most partitions stop at a day, and the next attempt goes on from the last checkpoint.
        runtime=60 if DEMO else 1440,
    params:
        data=DATA.root,
        run=RUN.root,
        model=settings_of("model"),
        settings=settings_of("training", without=EXECUTION_KEYS),
        init=weights_of(CONFIG.training.init),
        version=VERSIONS["train"],
        # How it is carried out changes no result. Snakemake reruns nothing for a parameter that depends on `resources`.
        carried_out=lambda wildcards, resources: settings_of("training"),
        launch=lambda wildcards, resources: LAUNCH,
        resumable=lambda wildcards, resources: RESUMABLE,
    # exec: no shell is left between Snakemake and the script that a signal could end before the training has saved.
    shell:
        "exec bash {params.resumable:q} {log} {params.launch} train --data {params.data} --run {params.run}"
        " --model {params.model:q} --settings {params.carried_out:q} --threads {threads} --restart-if-changed"


rule fit:
    input:
        batches=ancient(rules.index.output.batches),
        shards=all_shards(),
        model=rules.train.output.model,
    output:
        model=str(RUN.fitted),
        sidecar=str(sidecar_path(RUN.fitted)),
    log:
        run_log_of("fit"),
    benchmark:
        run_benchmark_of("fit")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(8)
    resources:
        mem_mb=memory(24000),
        runtime=minutes(720),
    params:
        data=DATA.root,
        settings=settings_of("refinement", without=frozenset({"fit"})),
        start=weights_of(CONFIG.refinement.start),
        version=VERSIONS["fit"],
    shell:
        "bindrae fit --data {params.data} --model {input.model} --output {output.model}"
        " --settings {params.settings:q} --processes {threads} 2>&1 | tee {log}"


rule evaluate:
    input:
        batches=ancient(rules.index.output.batches),
        shards=all_shards(),
        model=fitted_if_asked(rules.train, rules.fit),
    output:
        evaluation=str(RUN.evaluation),
        residues=str(RUN.residues),
    log:
        run_log_of("evaluate"),
    benchmark:
        run_benchmark_of("evaluate")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(8)
    resources:
        mem_mb=memory(16000),
        runtime=minutes(240),
    params:
        data=DATA.root,
        run=RUN.root,
        settings=settings_of("evaluation"),
        version=VERSIONS["evaluate"],
    shell:
        "bindrae evaluate --data {params.data} --run {params.run} --model {input.model}"
        " --settings {params.settings:q} --threads {threads} 2>&1 | tee {log}"
