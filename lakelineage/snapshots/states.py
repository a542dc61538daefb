"""The state of pins: pinned, released, expired; and which snapshots a pin that still holds has protected."""

from lakelineage.snapshots import retention

PINNED, RELEASED, EXPIRED = "pinned", "released", "expired"

#: The newest state of every pin, and whether it is over.
STATES = f"""
select p.*, case
  when status = '{RELEASED}' then '{RELEASED}'
  when until is null or until > make_timestamp($now) at time zone 'UTC' then '{PINNED}'
  when rule like '%{retention.REGISTERED}' and exists (
    select 1 from model_versions m where m.run_id = p.run_id and m.lifecycle_stage = 'active') then '{PINNED}'
  else '{EXPIRED}' end as state
from (
  select *, min(ingested_at) over (partition by snapshot_id, run_id) as pinned_at from pins_history
  qualify row_number() over (partition by snapshot_id, run_id order by ingested_at desc, writer desc, seq desc) = 1
) p
"""

#: Snapshots that a live pin has at the level ``protected``.
PROTECTED = f"""
select distinct snapshot_id from ({STATES})
where state = '{PINNED}' and protection = 'protected'
"""
