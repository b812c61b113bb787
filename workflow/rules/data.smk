# From the dataset's files to shards. One command a rule; all names come from bindrae.data.layout.


checkpoint index:
    input:
        dataset=dataset_of_index,
    output:
        entries=str(DATA.entries),
        sidecar=str(sidecar_path(DATA.entries)),
        rejected=str(rejected_path(DATA.entries)),
        batches=str(DATA.batches),
    log:
        log_of("index"),
    benchmark:
        benchmark_of("index")
    conda:
        "../envs/bindrae.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
    params:
        data=DATA.root,
        root=["--root", str(ROOT)] if ROOT else [],
        # A function: an address template holds {id}, which would be taken for a wildcard.
        settings=lambda wildcards: settings_of("index"),
        version=VERSIONS["index"],
    shell:
        "bindrae index --data {params.data} {params.root:q} --settings {params.settings:q}"
        " 2>&1 | tee {log}"


# A new index reruns the batches whose entries changed, and no other.
rule clean_batch:
    input:
        entries=ancient_while_kept("index", DATA.entries),
    output:
        table=output_of("clean"),
        sidecar=sidecar_of("clean"),
        rejected=rejected_of("clean"),
    log:
        log_of("clean/{batch}"),
    benchmark:
        benchmark_of("clean/{batch}")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(4)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
    params:
        data=DATA.root,
        index=contract_of("index"),
        entries=entries_of_batch,
        settings=settings_of("clean"),
        version=VERSIONS["clean"],
    shell:
        "bindrae clean --data {params.data} --batch {wildcards.batch}"
        " --settings {params.settings:q} --processes {threads} 2>&1 | tee {log}"


rule pocket_batch:
    input:
        clean=output_of("clean"),
    output:
        table=output_of("pocket"),
        sidecar=sidecar_of("pocket"),
        rejected=rejected_of("pocket"),
    log:
        log_of("pocket/{batch}"),
    benchmark:
        benchmark_of("pocket/{batch}")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(2)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        data=DATA.root,
        settings=settings_of("pocket"),
        version=VERSIONS["pocket"],
    shell:
        "bindrae pocket --data {params.data} --batch {wildcards.batch}"
        " --settings {params.settings:q} --processes {threads} 2>&1 | tee {log}"


rule torsions_batch:
    input:
        clean=output_of("clean"),
    output:
        table=output_of("torsions"),
        sidecar=sidecar_of("torsions"),
        rejected=rejected_of("torsions"),
    log:
        log_of("torsions/{batch}"),
    benchmark:
        benchmark_of("torsions/{batch}")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(2)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        data=DATA.root,
        settings=settings_of("torsions"),
        version=VERSIONS["torsions"],
    shell:
        "bindrae torsions --data {params.data} --batch {wildcards.batch}"
        " --settings {params.settings:q} --processes {threads} 2>&1 | tee {log}"


rule tokens_batch:
    input:
        clean=output_of("clean"),
        pocket=output_of("pocket"),
    output:
        table=output_of("tokens"),
        sidecar=sidecar_of("tokens"),
        rejected=rejected_of("tokens"),
    log:
        log_of("tokens/{batch}"),
    benchmark:
        benchmark_of("tokens/{batch}")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(2)
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        data=DATA.root,
        settings=settings_of("tokens"),
        version=VERSIONS["tokens"],
    shell:
        "bindrae tokens --data {params.data} --batch {wildcards.batch}"
        " --settings {params.settings:q} --processes {threads} 2>&1 | tee {log}"


# Snakemake sets OMP_NUM_THREADS to the rule's threads, which torch follows.
rule embed_batch:
    input:
        clean=output_of("clean"),
    output:
        tensors=output_of("embed"),
        sidecar=sidecar_of("embed"),
    log:
        log_of("embed/{batch}"),
    benchmark:
        benchmark_of("embed/{batch}")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(1 if CONFIG.embed.plm == "none" else 8)
    resources:
        **on_gpus(
            0 if CONFIG.embed.plm == "none" or CONFIG.training.device == "cpu" else 1
        ),
        mem_mb=memory(2000 if CONFIG.embed.plm == "none" else 16000),
        runtime=minutes(30 if CONFIG.embed.plm == "none" else 720),
    params:
        data=DATA.root,
        settings=settings_of("embed"),
        version=VERSIONS["embed"],
    shell:
        "bindrae embed --data {params.data} --batch {wildcards.batch}"
        " --settings {params.settings:q} 2>&1 | tee {log}"


# A checkpoint for the same reason as the index: shards are packed again only where a complex changed its side.
checkpoint split:
    input:
        batches=ancient(rules.index.output.batches),
        index_rejected=ancient(rules.index.output.rejected),
        clean=every_batch(output_of("clean")),
        rejected=every_batch(rejected_of("clean")),
        benchmark=benchmark_files(),
    output:
        table=str(DATA.split),
        sidecar=str(sidecar_path(DATA.split)),
    log:
        log_of("split"),
    benchmark:
        benchmark_of("split")
    conda:
        "../envs/bindrae.yaml"
    threads: threads_of(4)
    resources:
        mem_mb=memory(8000),
        runtime=minutes(120),
    params:
        data=DATA.root,
        max_rejected_fraction=CONFIG.max_rejected_fraction,
        settings=settings_of("split"),
        version=VERSIONS["split"],
    shell:
        "bindrae split --data {params.data} --settings {params.settings:q}"
        " --max-rejected-fraction {params.max_rejected_fraction} --threads {threads} 2>&1 | tee {log}"


rule shards_batch:
    input:
        clean=output_of("clean"),
        pocket=output_of("pocket"),
        torsions=output_of("torsions"),
        tokens=output_of("tokens"),
        embed=output_of("embed"),
        split=ancient_while_kept("split", DATA.split),
    output:
        train=shard_of("train", ".parquet"),
        train_tensors=shard_of("train", ".pt"),
        val=shard_of("val", ".parquet"),
        val_tensors=shard_of("val", ".pt"),
        test=shard_of("test", ".parquet"),
        test_tensors=shard_of("test", ".pt"),
        sidecar=sidecar_of("shards"),
    log:
        log_of("shards/{batch}"),
    benchmark:
        benchmark_of("shards/{batch}")
    conda:
        "../envs/bindrae.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        data=DATA.root,
        split=contract_of("split"),
        sides=sides_of_batch,
        settings=settings_of("shards"),
        version=VERSIONS["shards"],
    shell:
        "bindrae shards --data {params.data} --batch {wildcards.batch}"
        " --settings {params.settings:q} 2>&1 | tee {log}"


rule quality:
    input:
        index=ancient(rules.index.output),
        clean=every_batch(files_of("clean")),
        pocket=every_batch(files_of("pocket")),
        torsions=every_batch(files_of("torsions")),
        tokens=every_batch(files_of("tokens")),
        embed=every_batch(files_of("embed")),
        split=rules.split.output,
        shards=every_batch(sidecar_of("shards")) + all_shards(),
    output:
        table=str(DATA.quality),
        page=report(
            str(DATA.quality.with_suffix(".html")),
            caption="../report/quality.rst",
            category="Data",
            labels={"dataset": CONFIG.dataset, "page": "data quality"},
        ),
        pockets=(
            [str(DATA.root / "pockets" / "index.tsv")]
            if CONFIG.quality.write_pocket_pdb
            else []
        ),
    log:
        log_of("quality"),
    benchmark:
        benchmark_of("quality")
    conda:
        "../envs/bindrae.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=minutes(60),
    params:
        data=DATA.root,
        index_rejections=index_rejections,
        settings=settings_of("quality"),
        version=VERSIONS["quality"],
    shell:
        "bindrae quality --data {params.data} --settings {params.settings:q} 2>&1 | tee {log}"


# `snakemake pocket` runs that stage for all batches; its jobs belong to pocket_batch.
for stage in ("clean", "pocket", "torsions", "tokens", "embed", "shards"):

    rule:
        name:
            stage
        input:
            whole_stage(stage),
        localrule: True
