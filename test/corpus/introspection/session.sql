-- session.sql: how drivers and ORMs set up and reset their sessions. Format as in bypass.sql.
-- @case SES01 | expect=allow
-- JDBC
SET extra_float_digits = 3; SET application_name = 'PostgreSQL JDBC Driver'
-- @case SES02 | expect=allow
-- JDBC
SHOW TRANSACTION ISOLATION LEVEL
-- @case SES03 | expect=allow
-- JDBC
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED
-- @case SES04 | expect=allow
-- Sequelize
SET standard_conforming_strings=on;SET client_min_messages TO warning;SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE
-- @case SES05 | expect=allow
-- SQLAlchemy
select pg_catalog.version()
-- @case SES06 | expect=allow
-- SQLAlchemy
select current_schema()
-- @case SES07 | expect=allow
-- SQLAlchemy
show standard_conforming_strings
-- @case SES08 | expect=allow
-- Django
SELECT set_config('TimeZone', 'UTC', false)
-- @case SES09 | expect=allow
-- psycopg2
SET datestyle TO 'ISO'
-- @case SES10 | expect=allow
-- psycopg2
SET client_encoding TO 'UTF8'
-- @case SES11 | expect=allow
-- psycopg2
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ROLLBACK
-- @case SES12 | expect=allow
-- asyncpg, around its reading of types
SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new
-- @case SES13 | expect=allow
-- asyncpg, on release to its pool
SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL
-- @case SES14 | expect=allow
-- Rails
SET client_min_messages TO 'warning'; SET standard_conforming_strings = on; SET intervalstyle = iso_8601; SET SESSION timezone TO 'UTC'
-- @case SES15 | expect=allow
-- Rails
SHOW max_identifier_length
-- @case SES16 | expect=allow
-- Prisma
SET NAMES 'UTF8'
-- @case SES17 | expect=allow
-- Prisma
SELECT version()
-- @case SES18 | expect=allow
-- TypeORM
SHOW server_version
-- @case SES19 | expect=allow
-- TypeORM
SELECT * FROM current_schema()
-- @case SES20 | expect=allow
-- TypeORM
SELECT * FROM current_database()
-- @case SES21 | expect=allow
-- TypeORM
START TRANSACTION; SAVEPOINT typeorm_1; RELEASE SAVEPOINT typeorm_1; COMMIT
-- @case SES22 | expect=allow
-- libpq, target_session_attrs
SELECT pg_catalog.pg_is_in_recovery()
-- @case SES23 | expect=allow
-- libpq, target_session_attrs
SHOW transaction_read_only
-- @case SES24 | expect=allow
-- Npgsql, on return to its pool
CLOSE ALL; UNLISTEN *; DISCARD TEMP
-- @case SES25 | expect=allow
-- Npgsql, on return to its pool
DISCARD ALL
-- @case SES26 | expect=allow
-- pgbouncer and many pools: is it alive
;
-- @case SES27 | expect=allow
-- many pools: is it alive
SELECT 1
-- @case SES28 | expect=allow
-- Hibernate and Flyway
SELECT current_schema(), session_user
-- @case SES29 | expect=allow
-- node-postgres with a timeout
SET statement_timeout TO 5000
-- @case SES30 | expect=allow
-- dates and zones
SET LOCAL TIME ZONE 'Europe/Berlin'
-- @case SES31 | expect=allow
SET search_path TO "$user", app, public
-- @case SES32 | expect=allow
SELECT current_setting('server_version_num'), current_setting('search_path', true)
-- @case SES33 | expect=allow
-- Rails, pooled
RESET search_path
