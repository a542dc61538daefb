-- Lives of Delta tables, each called TT: every statement is a version. Read by test_delta_features.py.

--- odd partitions
create table TT (a int, p string, q date) using delta partitioned by (p, q);
insert into TT values (1, 'a/b=c d', date'2020-01-01'), (2, '', null), (3, 'ünï {x}*[1]', date'1500-01-01'), (4,
    null, date'2020-01-01'), (5, 'x%y+z', null), (6, '7', null);
delete from TT where a = 5;

--- types, Spark's old timestamps
create table TT (a int, b timestamp, c timestamp_ntz, d date, e decimal(20,4), f binary, g float, h tinyint, i
    smallint, x double, y boolean) using delta;
insert into TT values (1, timestamp'2020-01-01 01:02:03.123456', timestamp_ntz'1500-01-01 01:02:03',
    date'1500-02-03', 1.2345, X'00ff', float('nan'), 1Y, 2S, -0.0D, true), (2, timestamp'9999-12-31 23:59:59.999999',
    null, date'9999-12-31', -99.9999, X'', float('-inf'), -128Y, 7S, double('nan'), false), (3, null, null, null, null,
    null, null, null, null, null, null);

--- nested
create table TT (a int, l array<int>, m map<string,int>, s struct<x:int,y:array<struct<z:string>>>, n
    map<int,struct<x:int,y:array<string>>>) using delta;
insert into TT values (1, array(1,null), map('a',1,'b',null), struct(1, array(struct('q'), null)), map(1, struct(1,
    array('x', null)))), (2, array(), map(), struct(null, array()), map(2, null)), (3, null, null, null, null);

--- nested without maps
create table TT (a int, l array<array<int>>, s struct<x:int,y:array<struct<z:string,t:timestamp>>>) using delta
    tblproperties('delta.columnMapping.mode'='name');
insert into TT values (1, array(array(1),null), struct(1, array(struct('q', timestamp'2020-01-01'), null))), (2,
    array(), struct(null, array())), (3, null, null);
alter table TT add column s.w bigint;
alter table TT rename column s.x to xx;
insert into TT values (4, null, struct(7, null, 9L));
alter table TT drop column s.xx;

--- columns mapped by name
create table TT (a int, b string, p string) using delta partitioned by (p);
insert into TT values (1, 'x', ''), (2, null, null), (3, 'z', 'k');
alter table TT set tblproperties('delta.columnMapping.mode'='name', 'delta.minReaderVersion'='2',
    'delta.minWriterVersion'='5');
alter table TT rename column a to b2;
alter table TT rename column p to q;
alter table TT drop column b;
alter table TT add column b double;
insert into TT values (4, '', 1.5);
alter table TT rename column b to a;

--- columns mapped by id
create table TT (a int, p string, st struct<x:int,y:string>) using delta partitioned by (p)
    tblproperties('delta.columnMapping.mode'='id');
insert into TT values (1, '', struct(1,'q')), (2, null, struct(2,null)), (3, 'k', null);
alter table TT rename column a to b;
alter table TT rename column st.x to z;
alter table TT add column a string;
insert into TT values (4, 'k', struct(4,'w'), 'new');

--- deletion vectors
create table TT (a int, s string) using delta tblproperties('delta.enableDeletionVectors'='true');
insert into TT select id, concat('n', id) from range(1000);
delete from TT where a % 7 = 3;
insert into TT select id, 'more' from range(2000, 2010);
update TT set s = 'changed' where a between 500 and 520;
delete from TT where a % 5 = 1;

--- deletion vectors of odd partitions
create table TT (a int, p string) using delta partitioned by (p) tblproperties('delta.enableDeletionVectors'='true');
insert into TT select id, case id % 4 when 0 then 'a/b+c d%20' when 1 then null when 2 then '' else 'ü*[x]?' end
    from range(400);
delete from TT where a % 7 = 3;

--- types widened
create table TT (a int, f float, d date, e decimal(5,2), st struct<x:short>, b byte, l array<byte>, p int) using
    delta partitioned by (p) tblproperties('delta.enableTypeWidening'='true', 'delta.feature.timestampNtz'='supported');
insert into TT values (1, 1.1, date'2020-01-01', 1.25, struct(3S), 1Y, array(1Y, null), 5), (null, null, null, null,
    null, null, null, null);
alter table TT change column a type bigint;
alter table TT change column f type double;
alter table TT change column d type timestamp_ntz;
alter table TT change column e type decimal(10,4);
alter table TT change column st.x type int;
alter table TT change column b type decimal(12,1);
alter table TT change column l.element type int;
alter table TT change column p type bigint;
insert into TT values (5000000000, 1.1D, timestamp_ntz'2020-01-01 01:00:00', 99.1234, struct(70000), 12.5,
    array(70000), 6000000000);

--- computed columns
create table TT (a int, b int generated always as (a + 1), i bigint generated always as identity, d string default
    'x') using delta tblproperties('delta.feature.allowColumnDefaults'='supported');
insert into TT (a) values (1), (2);

--- checkpoints of version 2
create table TT (a int, p string) using delta partitioned by (p) tblproperties('delta.checkpointPolicy'='v2',
    'delta.checkpointInterval'='2', 'delta.enableDeletionVectors'='true');
insert into TT select id, '' from range(100);
insert into TT select id, null from range(100);
delete from TT where a % 3 = 1;
insert into TT values (3, 'x');

--- row tracking and clustering
create table TT (a int, b string) using delta cluster by (a) tblproperties('delta.enableRowTracking'='true',
    'delta.enableInCommitTimestamps'='true');
insert into TT select id, 'x' from range(10);
update TT set b = 'y' where a = 3;
