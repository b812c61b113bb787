# Structures of all complexes, predicted with the package's own weights or with those of the run.


rule predict_batch:
    input:
        entries=ancient_while_kept("index", DATA.entries),
        model=(
            fitted_if_asked(rules.train, rules.fit)
            if CONFIG.prediction.weights == "run"
            else []
        ),
    output:
        folder=directory(str(RUN.predicted(AnyBatch()))),
    log:
        run_log_of("predict/{batch}"),
    benchmark:
        run_benchmark_of("predict/{batch}")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(4)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(240),
    params:
        index=contract_of("index"),
        entries=entries_of_batch,
        model=lambda wildcards, input: ["--model", input.model] if input.model else [],
        options=prediction_options(),
        weights=(
            "run" if CONFIG.prediction.weights == "run" else weights_of(SHIPPED_NAME)
        ),
        version=VERSIONS["predict"],
        number=lambda wildcards: int(wildcards.batch),
        allowed=CONFIG.max_rejected_fraction,
    shell:
        "bindrae predict {input.entries} --batch {params.number} -o {output.folder} {params.model} {params.options}"
        " --max-failed-fraction {params.allowed} --threads {threads} 2>&1 | tee {log}"


rule predict:
    input:
        predicted_folders(),
