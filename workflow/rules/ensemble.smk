# Trainings of one recipe that differ in their seed and, if wished, their start, joined to one model and evaluated:
# `snakemake ensemble`.


use rule train as ensemble_train with:
    output:
        model=str(MEMBER.model),
        metrics=str(MEMBER.metrics),
        training=str(MEMBER.training),
    log:
        str(MEMBER.root / "logs" / "train.log"),
    benchmark:
        str(MEMBER.root / "benchmarks" / "train.tsv")
    wildcard_constraints:
        seed=r"\d+",
    params:
        data=DATA.root,
        run=lambda wildcards: ENSEMBLE.member(wildcards.seed).root,
        model=settings_of("model"),
        settings=lambda wildcards: member_settings(wildcards, EXECUTION_KEYS),
        init=lambda wildcards: weights_of(member_training(wildcards).init),
        version=VERSIONS["train"],
        carried_out=lambda wildcards, resources: member_settings(wildcards),
        launch=lambda wildcards, resources: LAUNCH,
        resumable=lambda wildcards, resources: RESUMABLE,


rule join:
    input:
        [str(ENSEMBLE.member(seed).model) for seed in CONFIG.ensemble.seeds],
    output:
        model=str(ENSEMBLE.model),
    log:
        str(ENSEMBLE.root / "logs" / "join.log"),
    conda:
        "../envs/bindrae.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(10),
    params:
        sweeps=CONFIG.ensemble.sweeps,
        version=VERSIONS["join"],
    shell:
        "bindrae join {input} --output {output.model} --sweeps {params.sweeps} 2>&1 | tee {log}"


use rule fit as ensemble_fit with:
    input:
        batches=ancient(rules.index.output.batches),
        shards=all_shards(),
        model=rules.join.output.model,
    output:
        model=str(ENSEMBLE.fitted),
        sidecar=str(sidecar_path(ENSEMBLE.fitted)),
    log:
        str(ENSEMBLE.root / "logs" / "fit.log"),
    benchmark:
        str(ENSEMBLE.root / "benchmarks" / "fit.tsv")


use rule evaluate as ensemble_evaluate with:
    input:
        batches=ancient(rules.index.output.batches),
        shards=all_shards(),
        model=fitted_if_asked(rules.join, rules.ensemble_fit),
    output:
        evaluation=str(ENSEMBLE.evaluation),
        residues=str(ENSEMBLE.residues),
    log:
        str(ENSEMBLE.root / "logs" / "evaluate.log"),
    benchmark:
        str(ENSEMBLE.root / "benchmarks" / "evaluate.tsv")
    params:
        data=DATA.root,
        run=ENSEMBLE.root,
        settings=settings_of("evaluation"),
        version=VERSIONS["evaluate"],


rule ensemble:
    input:
        fitted_if_asked(rules.join, rules.ensemble_fit),
        rules.ensemble_evaluate.output.evaluation,
