"""Questions of a lake, in DuckDB's dialect; each says where nulls go, and orders to the last tie."""

#: Newest moment that an as-of question may see: the middle of what was logged.
_THEN = "(select max(ingested_at) from metrics where key = 'rmse' and step = 1)"

QUESTIONS = {
    # Search
    "runs whose metric is below a bound": """
        select name, metrics['rmse'] as rmse from runs
        where lifecycle_stage = 'active' and metrics['rmse'] < 3 and not isnan(metrics['rmse'])
        order by rmse nulls last, name""",
    "runs by a param and a tag": """
        select name from runs where params['alpha'] = '0.1' or tags['team'] = 'b' order by name nulls last""",
    "runs whose param is a number": """
        select name, try_cast(params['alpha'] as double) as alpha from runs
        where try_cast(params['alpha'] as double) > 0 order by alpha nulls last, name""",
    "runs without a metric": """
        select name from runs where metrics['rmse'] is null order by name nulls last""",
    "runs whose metric is no number": """
        select name from runs where isnan(metrics['rmse']) order by name nulls last""",
    "runs by a pattern of their name": """
        select name, status from runs where name like 'child %' and status <> 'FAILED' order by name""",
    "newest runs first": """
        select name from runs order by start_time desc nulls last, run_id limit 3""",
    "children of a run": """
        select c.name from runs c join runs p on c.parent_run_id = p.run_id where p.name = 'sweep' order by c.name""",
    # Leaderboards
    "best runs": """
        select name, metrics['rmse'] as rmse from runs
        where status = 'FINISHED' order by isnan(metrics['rmse']) nulls last, rmse nulls last, name limit 5""",
    "best run of each experiment": """
        select e.name as experiment, r.name, r.metrics['rmse'] as rmse
        from runs r join experiments e using (experiment_id)
        where r.metrics['rmse'] is not null and not isnan(r.metrics['rmse'])
        qualify row_number() over (partition by r.experiment_id order by r.metrics['rmse'], r.name) = 1
        order by experiment""",
    "rank of each run among its siblings": """
        select name, rank() over (partition by parent_run_id order by metrics['rmse'] nulls last) as place
        from runs where parent_run_id is not null order by place, name""",
    "a param against its metric": """
        select params['alpha'] as alpha, count(*) as runs, min(metrics['rmse']) as best, avg(metrics['rmse']) as mean
        from runs where params['alpha'] is not null group by params['alpha'] order by alpha nulls last""",
    "runs by status": """
        select status, count(*) as runs from runs group by status order by runs desc, status""",
    # Curves
    "last value of each metric": """
        select run_id, key, max(step) as step,
            max_by(value, struct_pack(s := step, t := timestamp, i := ingested_at, w := writer, q := seq)) as value
        from metrics group by run_id, key order by run_id, key""",
    "greatest and least value of each metric": """
        select r.name, m.key, min(m.value) as least, max(m.value) as most, count(*) as points
        from metrics m join runs r using (run_id) where not isnan(m.value) and not isinf(m.value)
        group by r.name, m.key order by r.name nulls last, m.key""",
    "differences from step to step": """
        select r.name, m.step, m.value - lag(m.value) over (partition by m.run_id order by m.step) as change
        from metrics m join runs r using (run_id) where m.key = 'rmse'
        order by r.name nulls last, m.step""",
    "values that are no numbers": """
        select key, step, count(*) as points from metrics where isnan(value) or isinf(value)
        group by key, step order by key, step""",
    # Joins
    "runs that used a version of a table": """
        select distinct r.name, i.context, s.version
        from inputs i join snapshots s using (snapshot_id) join runs r using (run_id)
        where s.version = 0 order by r.name, i.context""",
    "versions of a table that were used": """
        select s.version, count(distinct i.run_id) as runs
        from snapshots s left join inputs i on i.snapshot_id = s.snapshot_id and i.context = 'training'
        group by s.version order by s.version""",
    "bytes of artifacts of each run": """
        select r.name, coalesce(sum(a.size), 0) as bytes from runs r left join artifacts a using (run_id)
        group by r.run_id, r.name order by bytes desc, r.name nulls last""",
    "models with their aliases and stages": """
        select name, version, stage, array_to_string(aliases, ',') as aliases, tags['reviewed'] as reviewed
        from model_versions order by name, version""",
    "versions trained on a version of a table": """
        select v.name, v.version, r.metrics['rmse'] as rmse
        from model_versions v join runs r using (run_id)
        where exists (select 1 from inputs i join snapshots s using (snapshot_id)
            where i.run_id = v.run_id and i.context = 'training' and s.version >= 1)
        order by v.name, v.version""",
    "acts by kind": """
        select action, count(*) as acts from activity group by action order by action""",
    # As of a moment
    "metrics as of a moment": f"""
        select key, count(*) as points from metrics where ingested_at <= {_THEN} group by key order by key""",
    "status of each run as of a moment": f"""
        select run_id, max_by(status, struct_pack(i := ingested_at, w := writer, q := seq)) as status
        from runs_history where ingested_at <= {_THEN} group by run_id order by run_id""",
    "params of runs as of a moment": f"""
        select run_id, key, min_by(value, struct_pack(i := ingested_at, w := writer, q := seq)) as value
        from params where ingested_at <= {_THEN} group by run_id, key order by run_id, key""",
    # Lineage
    "what descends from the data": """
        with recursive down as (
            select target as node, 1 as depth from lineage where source like 'dataset:%'
            union all
            select l.target, d.depth + 1 from lineage l join down d on l.source = d.node where d.depth < 10
        )
        select node, min(depth) as depth from down group by node order by depth, node""",
    "what a model descends from": """
        with recursive up as (
            select source as node, 1 as depth from lineage where target like 'model:ridge@1'
            union all
            select l.source, u.depth + 1 from lineage l join up u on l.target = u.node where u.depth < 10
        )
        select node, min(depth) as depth from up group by node order by depth, node""",
    "edges by relation": """
        select relation, count(*) as edges from lineage group by relation order by relation""",
}
