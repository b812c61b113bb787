# From all of it to one page.


rule report:
    input:
        quality=rules.quality.output.table,
        split=rules.split.output,
        training=rules.train.output.training,
        metrics=rules.train.output.metrics,
        evaluation=rules.evaluate.output.evaluation,
        residues=rules.evaluate.output.residues,
        shards=all_shards(),
        predicted=predicted_folders(),
    output:
        html=report(
            str(RUN.report),
            caption="../report/run.rst",
            category="Runs",
            labels={"dataset": CONFIG.dataset, "run": RUN.root.name, "page": "report"},
        ),
    log:
        run_log_of("report"),
    benchmark:
        run_benchmark_of("report")
    conda:
        "../envs/bindrae.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        data=DATA.root,
        run=RUN.root,
        config=whole_config(),
        version=VERSIONS["report"],
    shell:
        "bindrae report --data {params.data} --run {params.run} --config {params.config:q}"
        " 2>&1 | tee {log}"
