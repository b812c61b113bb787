# From shards to the best model and its evaluation on a held-out side.


# checkpoints/ is no output: Snakemake deletes outputs before a rerun, and a killed training resumes from there, unless
# its settings or data changed since.
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
        mem_mb=memory(16000),
        # Does not grow: most partitions stop at a day, and the next attempt goes on from the last checkpoint.
        runtime=60 if DEMO else 1440,
        gpu=0 if CONFIG.training.device == "cpu" else 1,
    params:
        data=DATA.root,
        run=RUN.root,
        model=settings_of("model"),
        settings=settings_of("training"),
        version=VERSIONS["train"],
    shell:
        "bindrae train --data {params.data} --run {params.run} --model {params.model:q}"
        " --settings {params.settings:q} --threads {threads} --restart-if-changed 2>&1 | tee {log}"


rule evaluate:
    input:
        batches=ancient(rules.index.output.batches),
        shards=all_shards(),
        model=rules.train.output.model,
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
        "bindrae evaluate --data {params.data} --run {params.run}"
        " --settings {params.settings:q} --threads {threads} 2>&1 | tee {log}"
