--
-- PostgreSQL database dump
--

\restrict FosYomQLPDB2kXMR5loHgx3clfvlqAeS1AmA8TJcuu1BXupbYnGZMrRDdpauuBb

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: lamina_config_change_point_compaction_only(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.lamina_config_change_point_compaction_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM config_value s WHERE s.config_name_id = NEW.config_name_id AND s.version = NEW.version AND s.name = NEW.name AND s.deleted = NEW.deleted AND s.digest = NEW.digest) AND NEW.superseded_by > NEW.version AND NEW.superseded_by <= (SELECT max(k.version) FROM config_cut k WHERE k.config_name_id = NEW.config_name_id) AND EXISTS (SELECT 1 FROM config_value n WHERE n.config_name_id = NEW.config_name_id AND n.name = NEW.name AND n.version = NEW.superseded_by) THEN RETURN NEW; END IF;
  RAISE restrict_violation USING MESSAGE = 'lamina: INSERT on config_change_point, which is insert-only but for compaction: no cut has superseded such a value';
END
$$;


--
-- Name: lamina_config_cut_compaction_only(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.lamina_config_cut_compaction_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM config v WHERE v.config_name_id = NEW.config_name_id AND v.version = NEW.version) AND NOT EXISTS (SELECT 1 FROM config_cut k WHERE k.config_name_id = NEW.config_name_id AND k.version >= NEW.version) THEN RETURN NEW; END IF;
  RAISE restrict_violation USING MESSAGE = 'lamina: INSERT on config_cut, which is insert-only but for compaction: no such version, or no newer one than before';
END
$$;


--
-- Name: lamina_config_value_association_compaction_only(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.lamina_config_value_association_compaction_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM config v WHERE v.id = OLD.config_id AND v.version < (SELECT max(k.version) FROM config_cut k WHERE k.config_name_id = v.config_name_id)) THEN RETURN OLD; END IF;
  RAISE restrict_violation USING MESSAGE = 'lamina: DELETE on config_value_association, which is insert-only but for compaction: the keyframe is not older than a cut';
END
$$;


--
-- Name: lamina_config_value_compaction_only(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.lamina_config_value_compaction_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM config_change_point s WHERE s.config_name_id = OLD.config_name_id AND s.version = OLD.version AND s.name = OLD.name AND s.deleted = OLD.deleted AND s.digest = OLD.digest) THEN RETURN OLD; END IF;
  RAISE restrict_violation USING MESSAGE = 'lamina: DELETE on config_value, which is insert-only but for compaction: the value has no change point';
END
$$;


--
-- Name: lamina_insert_only(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.lamina_insert_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  RAISE restrict_violation USING MESSAGE = 'lamina: ' || TG_OP || ' on ' || TG_TABLE_NAME || ', which is insert-only';
END
$$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: config; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config (
    id bigint NOT NULL,
    config_name_id bigint NOT NULL,
    version bigint NOT NULL,
    author text NOT NULL,
    author_verified boolean NOT NULL,
    message text NOT NULL,
    commit_time_us bigint NOT NULL,
    key_count bigint NOT NULL,
    change_count bigint NOT NULL,
    size_bytes bigint NOT NULL,
    hash bytea NOT NULL,
    source_config text,
    source_version bigint,
    source_hash bytea,
    CONSTRAINT ck_config_hash_length CHECK ((length(hash) = 32)),
    CONSTRAINT ck_config_positive_id CHECK ((id > 0)),
    CONSTRAINT ck_config_positive_version CHECK ((version > 0)),
    CONSTRAINT ck_config_whole_source CHECK ((((source_version IS NULL) = (source_config IS NULL)) AND ((source_hash IS NULL) = (source_config IS NULL))))
);


--
-- Name: config_change_point; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config_change_point (
    config_name_id bigint NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    deleted boolean NOT NULL,
    digest bytea NOT NULL,
    superseded_by bigint NOT NULL,
    CONSTRAINT ck_config_change_point_digest_length CHECK ((length(digest) = 32))
);


--
-- Name: config_cut; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config_cut (
    config_name_id bigint NOT NULL,
    version bigint NOT NULL,
    cut_time_us bigint NOT NULL,
    reason text NOT NULL,
    CONSTRAINT ck_config_cut_positive_version CHECK ((version > 0))
);


--
-- Name: config_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.config ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.config_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: config_name; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config_name (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT ck_config_name_positive_id CHECK ((id > 0))
);


--
-- Name: config_name_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.config_name ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.config_name_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: config_request; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config_request (
    caller text NOT NULL COLLATE pg_catalog."C",
    request_id text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    config_name text NOT NULL COLLATE pg_catalog."C",
    config_id bigint,
    created boolean NOT NULL,
    merged boolean NOT NULL,
    CONSTRAINT ck_config_request_digest_length CHECK ((length(digest) = 32))
);


--
-- Name: config_secret_key; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config_secret_key (
    id bigint NOT NULL,
    number bigint NOT NULL,
    wrapping bigint NOT NULL,
    is_foreign boolean NOT NULL,
    check_digest bytea NOT NULL,
    outer_key text NOT NULL,
    wrapped bytea NOT NULL,
    CONSTRAINT ck_config_secret_key_check_digest_length CHECK ((length(check_digest) = 32)),
    CONSTRAINT ck_config_secret_key_positive_id CHECK ((id > 0)),
    CONSTRAINT ck_config_secret_key_positive_number CHECK ((number > 0)),
    CONSTRAINT ck_config_secret_key_positive_wrapping CHECK ((wrapping > 0))
);


--
-- Name: config_secret_key_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.config_secret_key ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.config_secret_key_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: config_value; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config_value (
    id bigint NOT NULL,
    config_name_id bigint NOT NULL,
    version bigint NOT NULL,
    originating_config_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    kind smallint NOT NULL,
    deleted boolean NOT NULL,
    int_value bigint,
    float_value double precision,
    string_value text,
    bytes_value bytea,
    digest bytea NOT NULL,
    CONSTRAINT ck_config_value_digest_length CHECK ((length(digest) = 32)),
    CONSTRAINT ck_config_value_kind CHECK (((kind >= 0) AND (kind <= 7))),
    CONSTRAINT ck_config_value_one_column_by_kind CHECK ((((NOT deleted) OR (kind = 0)) AND ((int_value IS NOT NULL) = (kind = ANY (ARRAY[1, 2]))) AND ((float_value IS NOT NULL) = (kind = 3)) AND ((string_value IS NOT NULL) = (kind = ANY (ARRAY[4, 6]))) AND ((bytes_value IS NOT NULL) = (kind = ANY (ARRAY[5, 7]))))),
    CONSTRAINT ck_config_value_positive_id CHECK ((id > 0))
);


--
-- Name: config_value_association; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.config_value_association (
    config_id bigint NOT NULL,
    config_value_id bigint NOT NULL
);


--
-- Name: config_value_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.config_value ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.config_value_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: lamina_head; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.lamina_head AS
 SELECT n.name AS config,
    c.version,
    v.name AS key,
        CASE
            WHEN v.deleted THEN NULL::text
            ELSE
            CASE v.kind
                WHEN 0 THEN 'null'::text
                WHEN 1 THEN 'boolean'::text
                WHEN 2 THEN 'integer'::text
                WHEN 3 THEN 'float'::text
                WHEN 4 THEN 'string'::text
                WHEN 5 THEN 'bytes'::text
                WHEN 6 THEN 'json'::text
                WHEN 7 THEN 'secret'::text
                ELSE NULL::text
            END
        END AS kind,
        CASE v.kind
            WHEN 1 THEN
            CASE
                WHEN (v.int_value = 0) THEN 'false'::text
                ELSE 'true'::text
            END
            WHEN 2 THEN (v.int_value)::text
            WHEN 3 THEN (v.float_value)::text
            WHEN 5 THEN ('\x'::text || encode(v.bytes_value, 'hex'::text))
            ELSE v.string_value
        END AS value,
        CASE v.kind
            WHEN 2 THEN (v.int_value)::double precision
            WHEN 3 THEN v.float_value
            ELSE NULL::double precision
        END AS number,
    v.version AS origin
   FROM (((public.config_name n
     JOIN public.config c ON (((c.config_name_id = n.id) AND (c.version = ( SELECT max(h.version) AS max
           FROM public.config h
          WHERE (h.config_name_id = n.id))))))
     CROSS JOIN LATERAL ( WITH RECURSIVE keys(name) AS (
                 SELECT min(f.name) AS min
                   FROM public.config_value f
                  WHERE (f.config_name_id = c.config_name_id)
                UNION ALL
                 SELECT ( SELECT min(f.name) AS min
                           FROM public.config_value f
                          WHERE ((f.config_name_id = c.config_name_id) AND (f.name > keys_1.name))) AS min
                   FROM keys keys_1
                  WHERE (keys_1.name IS NOT NULL)
                )
         SELECT keys.name
           FROM keys
          WHERE (keys.name IS NOT NULL)) k)
     CROSS JOIN LATERAL ( SELECT o.id,
            o.config_name_id,
            o.version,
            o.originating_config_id,
            o.name,
            o.kind,
            o.deleted,
            o.int_value,
            o.float_value,
            o.string_value,
            o.bytes_value,
            o.digest
           FROM public.config_value o
          WHERE ((o.config_name_id = c.config_name_id) AND (ROW(o.name, o.version) <= ROW(k.name, c.version)))
          ORDER BY o.name DESC, o.version DESC
         LIMIT 1) v)
  WHERE ((v.name = k.name) AND (NOT v.deleted));


--
-- Name: lamina_key_history; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.lamina_key_history AS
 SELECT n.name AS config,
    v.name AS key,
    v.version,
    c.author,
    c.message,
    ('1970-01-01 00:00:00+00'::timestamp with time zone + ((c.commit_time_us)::double precision * '00:00:00.000001'::interval)) AS "time",
    v.deleted,
        CASE
            WHEN v.deleted THEN NULL::text
            ELSE
            CASE v.kind
                WHEN 0 THEN 'null'::text
                WHEN 1 THEN 'boolean'::text
                WHEN 2 THEN 'integer'::text
                WHEN 3 THEN 'float'::text
                WHEN 4 THEN 'string'::text
                WHEN 5 THEN 'bytes'::text
                WHEN 6 THEN 'json'::text
                WHEN 7 THEN 'secret'::text
                ELSE NULL::text
            END
        END AS kind,
        CASE v.kind
            WHEN 1 THEN
            CASE
                WHEN (v.int_value = 0) THEN 'false'::text
                ELSE 'true'::text
            END
            WHEN 2 THEN (v.int_value)::text
            WHEN 3 THEN (v.float_value)::text
            WHEN 5 THEN ('\x'::text || encode(v.bytes_value, 'hex'::text))
            ELSE v.string_value
        END AS value,
        CASE v.kind
            WHEN 2 THEN (v.int_value)::double precision
            WHEN 3 THEN v.float_value
            ELSE NULL::double precision
        END AS number,
    false AS compacted
   FROM ((public.config_name n
     JOIN public.config_value v ON ((v.config_name_id = n.id)))
     JOIN public.config c ON ((c.id = v.originating_config_id)))
UNION ALL
 SELECT n.name AS config,
    p.name AS key,
    p.version,
    c.author,
    c.message,
    ('1970-01-01 00:00:00+00'::timestamp with time zone + ((c.commit_time_us)::double precision * '00:00:00.000001'::interval)) AS "time",
    p.deleted,
    NULL::text AS kind,
    NULL::text AS value,
    NULL::double precision AS number,
    (NOT p.deleted) AS compacted
   FROM ((public.config_name n
     JOIN public.config_change_point p ON ((p.config_name_id = n.id)))
     JOIN public.config c ON (((c.config_name_id = p.config_name_id) AND (c.version = p.version))));


--
-- Name: lamina_log; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.lamina_log AS
 SELECT n.name AS config,
    c.version,
    c.author,
    c.author_verified,
    c.message,
    ('1970-01-01 00:00:00+00'::timestamp with time zone + ((c.commit_time_us)::double precision * '00:00:00.000001'::interval)) AS "time",
    c.key_count,
    c.change_count,
    c.size_bytes,
    encode(c.hash, 'hex'::text) AS hash,
    c.source_config,
    c.source_version,
    (c.version < COALESCE(( SELECT max(k.version) AS max
           FROM public.config_cut k
          WHERE (k.config_name_id = n.id)), (1)::bigint)) AS compacted
   FROM (public.config_name n
     JOIN public.config c ON ((c.config_name_id = n.id)));


--
-- Name: lamina_map; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.lamina_map AS
 SELECT n.name AS config,
    c.version,
    v.name AS key,
        CASE
            WHEN v.deleted THEN NULL::text
            ELSE
            CASE v.kind
                WHEN 0 THEN 'null'::text
                WHEN 1 THEN 'boolean'::text
                WHEN 2 THEN 'integer'::text
                WHEN 3 THEN 'float'::text
                WHEN 4 THEN 'string'::text
                WHEN 5 THEN 'bytes'::text
                WHEN 6 THEN 'json'::text
                WHEN 7 THEN 'secret'::text
                ELSE NULL::text
            END
        END AS kind,
        CASE v.kind
            WHEN 1 THEN
            CASE
                WHEN (v.int_value = 0) THEN 'false'::text
                ELSE 'true'::text
            END
            WHEN 2 THEN (v.int_value)::text
            WHEN 3 THEN (v.float_value)::text
            WHEN 5 THEN ('\x'::text || encode(v.bytes_value, 'hex'::text))
            ELSE v.string_value
        END AS value,
        CASE v.kind
            WHEN 2 THEN (v.int_value)::double precision
            WHEN 3 THEN v.float_value
            ELSE NULL::double precision
        END AS number,
    v.version AS origin
   FROM (((public.config_name n
     JOIN public.config c ON (((c.config_name_id = n.id) AND (c.version >= COALESCE(( SELECT max(k_1.version) AS max
           FROM public.config_cut k_1
          WHERE (k_1.config_name_id = n.id)), (1)::bigint)))))
     CROSS JOIN LATERAL ( WITH RECURSIVE keys(name) AS (
                 SELECT min(f.name) AS min
                   FROM public.config_value f
                  WHERE (f.config_name_id = c.config_name_id)
                UNION ALL
                 SELECT ( SELECT min(f.name) AS min
                           FROM public.config_value f
                          WHERE ((f.config_name_id = c.config_name_id) AND (f.name > keys_1.name))) AS min
                   FROM keys keys_1
                  WHERE (keys_1.name IS NOT NULL)
                )
         SELECT keys.name
           FROM keys
          WHERE (keys.name IS NOT NULL)) k)
     CROSS JOIN LATERAL ( SELECT o.id,
            o.config_name_id,
            o.version,
            o.originating_config_id,
            o.name,
            o.kind,
            o.deleted,
            o.int_value,
            o.float_value,
            o.string_value,
            o.bytes_value,
            o.digest
           FROM public.config_value o
          WHERE ((o.config_name_id = c.config_name_id) AND (ROW(o.name, o.version) <= ROW(k.name, c.version)))
          ORDER BY o.name DESC, o.version DESC
         LIMIT 1) v)
  WHERE ((v.name = k.name) AND (NOT v.deleted));


--
-- Name: lamina_schema_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.lamina_schema_version (
    version_num character varying(32) NOT NULL
);


--
-- Data for Name: config; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config (id, config_name_id, version, author, author_verified, message, commit_time_us, key_count, change_count, size_bytes, hash, source_config, source_version, source_hash) FROM stdin;
1	1	1	ada	f	first settings	1796091034790049	9	9	106	\\x5717ed547af8b519dd9a3a865f2505c0b611b944b3fb9ccc922066bbd2dcc027	\N	\N	\N
2	1	2	ada	f	the provider is slow	1796091034801047	8	2	102	\\x2f01b0fceb88706a5d28c49ae1cb120acc115955456fdc2739abaaf56c8e7499	\N	\N	\N
3	1	3	grace	f	one more host	1796091034817438	8	1	107	\\x09c2c575addf6826bb54633e7efecae7beae69ec15dfccabe918fe4bcb0b94b9	\N	\N	\N
4	1	4	grace	f	fast again	1796091034828525	8	1	107	\\x9b61d9f6140691e54b8e3c779544c0b45d6c690ceded1d70484e05c860e40c15	\N	\N	\N
5	2	1	grace	f	a region of its own	1796091034839799	8	8	102	\\x87e2192e022aaf46324b6a56c40070ce5529f5e67a7c4f583c65dafe03631871	shop/prod	2	\\x2f01b0fceb88706a5d28c49ae1cb120acc115955456fdc2739abaaf56c8e7499
6	2	2	ada	f	its currency	1796091034856102	9	1	113	\\x0a221e38e1011383babf99263250ae93e90e1f0cb645150454429b72c6f0e300	\N	\N	\N
7	3	1	ada	f	a hundred keys	1796091034873612	100	100	1500	\\x4702ce400890ea42be7f2afa826151d42400d4869f0eddcc7cbbd30b139c4460	\N	\N	\N
8	3	2	ada	f	step 1	1796091034893185	100	100	1500	\\xc201e80642f9fac6f292f84409fd290d64642206798118843ad10908757588ae	\N	\N	\N
9	3	3	ada	f	step 2	1796091034910818	100	100	1500	\\x9709d0b743935b8100cabca4aa60ed240a15ea3ab5fb175175b8c98c673466c8	\N	\N	\N
10	3	4	ada	f	step 3	1796091034930484	100	100	1500	\\x7b360092209e7f23bfb3aa9fb7cb243015093d998f51a67af652c76a06940309	\N	\N	\N
11	3	5	ada	f	step 4	1796091034967253	100	100	1500	\\x74b62484088eeb24a854594ce316ccabf1a66583284a9fd3a9aaa5d43ff5f664	\N	\N	\N
12	3	6	ada	f	step 5	1796091034988800	100	100	1500	\\xbda775247efca41a5d729f8bd5614d3a1216014440c8c64e54d489acfe63ac44	\N	\N	\N
13	4	1	ada	f	a password	1796091035049215	1	1	71	\\x6c35aecdff6ae45068f20772fda148bef22466541eeca1911439680a1d3219ed	\N	\N	\N
14	4	2	ada	f	with its user	1796091035060823	1	1	103	\\xbbf543377fca7f06a67d9a11d85fc7940662cbd87b268c27536ab8ec1b26a3da	\N	\N	\N
\.


--
-- Data for Name: config_change_point; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config_change_point (config_name_id, version, name, deleted, digest, superseded_by) FROM stdin;
\.


--
-- Data for Name: config_cut; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config_cut (config_name_id, version, cut_time_us, reason) FROM stdin;
\.


--
-- Data for Name: config_name; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config_name (id, name) FROM stdin;
1	shop/prod
2	shop/eu
3	many
4	shop/vault
\.


--
-- Data for Name: config_request; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config_request (caller, request_id, digest, config_name, config_id, created, merged) FROM stdin;
	044dfc2987e4af589111d3d7fe0f592a	\\x52cb1c9efd6adbcf719689c0f1c4155e367477acd0d9d3a82f81965c9bc04224	shop/prod	1	t	f
	dd84ff3881528a0ac10eda9127f8ed44	\\xa41b252c0786281d49426e7cc53fc4a16444a9eb32cdf008488ab3b4bcf37a3c	shop/prod	2	t	f
	30a1cfd3b2d2971a1d1679b38e477bf8	\\x0aa2c45098d47d89a4a6707e505163213ea7df9f740485533786e6aaea0f1d42	shop/prod	3	t	f
	bb2c0697de77eb642014ef931ca2edfa	\\x5de08584a4058ee703b77eae8ad525b775c9f5a479570388f7595b6d893222ab	shop/prod	4	t	f
	bf9af7943913ca74fa7f8e9df6b8ca8c	\\xac4d45d70fe1cc3fa1797ea18b101dc6fc591d12d085fcab763864635b97be0a	shop/eu	5	t	f
	f8b163b45808690741487af8ff7fd986	\\xd866f35ba60a4a6e715d47bcf53c6b5437ee8e85b56a336408055cf20eb218c2	shop/eu	6	t	f
	f28e88612b3d91facbc35ced7f64906b	\\xb021c5c025c46f9de7bb1a419e7caefdcf0c8ddb75c693d58a91817c395823e5	many	7	t	f
	b81bd4f41984ea070d9bafa608360b04	\\x5f86cef32431765042197f36e698426f8ba97fb87596b1581c618ff9eb27fbfe	many	8	t	f
	eee0ef93ac59a386c596e88ff1d0605e	\\xd6d081717b317d4d48c8b5819a9b010ec80694a929a56bc37a0f5ba0df66a58e	many	9	t	f
	c867f6e05c8d14aab23cebc75cbdbc9b	\\x6d4694de19856bc93e8b5e4c403e15b15d287146f03623f08352d23d4afa13ed	many	10	t	f
	ec164aee05faaf9f467bc705270b7d76	\\xd6ca624808897bafbc2a6e4a0d6cb45111e644e2b8c09e998faeb3968f3f86fd	many	11	t	f
	2c0f56f640522ac39f4bab7c23a5a79c	\\x176411464cbee52539e685cff0e6d3756586a72476a67d8e591492647bf86eca	many	12	t	f
	5066907cffcea0c6ffbfe75cbf9aff38	\\x4bbfda908c39c8a7d46b6639a8efa414e15a40e7985ded84ec40d79f5431385c	shop/vault	13	t	f
	0db8c3c3177a03b5460f8a169bfea26f	\\x49b4dffd904a3f792d08d2f761148cd56e77aebaa590b422633016a260cf4b1d	shop/vault	14	t	f
\.


--
-- Data for Name: config_secret_key; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config_secret_key (id, number, wrapping, is_foreign, check_digest, outer_key, wrapped) FROM stdin;
1	8788701575363992249	1	f	\\xb6366832eb66c24a2a0baeba53aeda2612c04bdd5a0e9ee6424e150bae9f9aa0	local:cfc27483	\\x50807950265af156d9c2fdcb19bcaf33ea052aefd75b5d38a85829015f70d1fb015937d9c8b52f07fcac95042e27bc595a281be28361073866b791b398cffcfed6541d273840e1e3
\.


--
-- Data for Name: config_value; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config_value (id, config_name_id, version, originating_config_id, name, kind, deleted, int_value, float_value, string_value, bytes_value, digest) FROM stdin;
1	1	1	1	big	2	f	4611686018427387904	\N	\N	\N	\\x222d1af3c5a59d5eba5f65be03ab86d876d43a41e8063e4cce74eb666b0e7c55
2	1	1	1	bytes	5	f	\N	\N	\N	\\x00ff	\\x2e796ff946b72d2980bab45851838f19e6edb4cf16a1d8f28b8361dc88bf04d1
3	1	1	1	hosts	6	f	\N	\N	["h1","h2"]	\N	\\x7cb5d526c0a8ab6618271f9eb3f9e5ca4390a0274330480b82dd8715d989cb2a
4	1	1	1	limits	6	f	\N	\N	{"depth":{"max":3}}	\N	\\x8782876f98911205a2017f5cad73436b7f27fbb85adde7d68b47f313ec7f5595
5	1	1	1	none	0	f	\N	\N	\N	\N	\\x832ae8cac828848b375369cd77dfd38f98b4394fb4ac813e57a61dad4d08f6db
6	1	1	1	on	1	f	1	\N	\N	\N	\\x67e90532c282e65d8251a0a10e14be1f1d5662e83541fef8dbd82de45be87ec0
7	1	1	1	ratio	3	f	\N	0.1	\N	\N	\\xf35b079cea18f6acdea39f04adda4681021010185704cc73227700b7fcb88942
8	1	1	1	text	4	f	\N	\N	täglich	\N	\\x95579dfad394ceffc50bc53d601c483b4ddff26b1d4bc80f77490762b84c4f7d
9	1	1	1	timeout	2	f	30	\N	\N	\N	\\xc05fa08842aef539d8a0e6dd41fa034a1cf3784742fe0e9012a07acdba215221
10	1	2	2	none	0	t	\N	\N	\N	\N	\\xe84154963dea12857fa445afc88a72905162cda2748067773bd9c11a32e83a94
11	1	2	2	timeout	2	f	45	\N	\N	\N	\\x2f243d7f626b187e902a30ca5b0db523f1fcc8743314a1b638a8f6aa2f41fade
12	1	3	3	hosts	6	f	\N	\N	["h1","h2","h3"]	\N	\\x7877b0b1279a2538a080b5525c867e6bd3ec2cb54f9ec5e19de7473d41382d62
13	1	4	4	timeout	2	f	30	\N	\N	\N	\\xd1f8e0dd2961287857a80e9d966d35b29e71249c6f0173c3988d786d684d6fca
14	2	1	5	big	2	f	4611686018427387904	\N	\N	\N	\\xf953f556997b2217a3d2d3ef730622654c9bd9a452c71ad857f36c861dc96089
15	2	1	5	bytes	5	f	\N	\N	\N	\\x00ff	\\xcae9e7559aa1094a126c89956b83d002212df833eced8a27b82c53c855f9cf94
16	2	1	5	hosts	6	f	\N	\N	["h1","h2"]	\N	\\xd2e07838850817437b287d57891ad8016f053eb0dfa3f7a17d2ec17cfb5c0a35
17	2	1	5	limits	6	f	\N	\N	{"depth":{"max":3}}	\N	\\xf77520ba28c8049879e39f7203e0e57d0e8dd08bcc6e1b87cdb4867cf2f509d9
18	2	1	5	on	1	f	1	\N	\N	\N	\\xc4c93bcc31c98a8e93d20990d48f12c7e4c74a29ca51baf690f62f5a9b418f79
19	2	1	5	ratio	3	f	\N	0.1	\N	\N	\\xd64543ccfdabe95179170731c2b40b1c1d910d438ff670b305a000c215924c77
20	2	1	5	text	4	f	\N	\N	täglich	\N	\\x61031e0cdb993ab5d1ebac7da6d5221830ba9b3833beb751b02d6e4f55338938
21	2	1	5	timeout	2	f	45	\N	\N	\N	\\xeda60b19f8dae649557c974ee2cb7b151ea49b4da5e1d24155d61aa5ada77e6c
22	2	2	6	currency	4	f	\N	\N	EUR	\N	\\xdf78a1abf43f6ca72fd45c42dcca5fa6e6b909e46ff52158ac1058dd9d796248
23	3	1	7	key/000	2	f	0	\N	\N	\N	\\x0493f29230f43621f6d31b617458e77a072fd1c940fd02f9a8fbd17e7e93ad0e
24	3	1	7	key/001	2	f	1	\N	\N	\N	\\x13db6e8c5839dcb1789036962364dbde6fb11ff30162659b1f8cf053e3d0f119
25	3	1	7	key/002	2	f	2	\N	\N	\N	\\x5f635059d311c8ebd695b9dd5e1f3661fcc9df164e5d5780ce066fce08f40b62
26	3	1	7	key/003	2	f	3	\N	\N	\N	\\x20c8a322a238c5c64eb42ccdd74b0da65229153ef1b95d262f60c23fc7cfb7ef
27	3	1	7	key/004	2	f	4	\N	\N	\N	\\x10ec762a597a33f5df8e03beded96ec3e7ccc452f1335e4befa3e157693e8761
28	3	1	7	key/005	2	f	5	\N	\N	\N	\\x306d4165a97d7b299358c00a55cbb3373ffd542e5152dde0fdfc3ae580b233e0
29	3	1	7	key/006	2	f	6	\N	\N	\N	\\xab26896e4b751beb58e203da56b0fe4521164379aedda859a808e4c5d6545570
30	3	1	7	key/007	2	f	7	\N	\N	\N	\\x8f349659e896c25a24bff000b499621e43eca76f548834f0e89fc9d27bc439aa
31	3	1	7	key/008	2	f	8	\N	\N	\N	\\xbec41fcc3f638f1f3e0b80927fd7faec2638355ef22845a97ed2daa7dec1dc14
32	3	1	7	key/009	2	f	9	\N	\N	\N	\\x32c830af75ca84e6b594e1c2494aa8074d070d8d760b7082cad08bc56ba7a5c9
33	3	1	7	key/010	2	f	10	\N	\N	\N	\\xdb51e9aa4b8b5dddebdb0617cd8f44540be3f4d314df42d776e18ad87ddcca94
34	3	1	7	key/011	2	f	11	\N	\N	\N	\\x029b5c11a6cffeb07cbe2159972e57ec4f76536e2c29b98a7874d90e5c7c54c3
35	3	1	7	key/012	2	f	12	\N	\N	\N	\\x22983670ea95f8dd5cc96962e7f948fa1d866e286ac488b3b8ad238f5f57dc92
36	3	1	7	key/013	2	f	13	\N	\N	\N	\\xb9f8b7fe54fc447803234f35156afc4e2e3597ba53ee572aa1ca54e4aef1a8d2
37	3	1	7	key/014	2	f	14	\N	\N	\N	\\x5197d1f479d3d44c100fc1c018dc570b6e1aa56de54412c2d7a064db1cea77a3
38	3	1	7	key/015	2	f	15	\N	\N	\N	\\x3b02faa80eca35ad5aa36aecc812d7aefce9e95c98ded06c8abd449b7a20bca3
39	3	1	7	key/016	2	f	16	\N	\N	\N	\\x5a2268dcc21e05c1643d48b227bb04a66d28e18ab4bf0df40b57f9b042e7dd0c
40	3	1	7	key/017	2	f	17	\N	\N	\N	\\x1f156675095fb3ae0c4755ae9f1ce120f5b63e73397b40924f254ec3090e6b64
41	3	1	7	key/018	2	f	18	\N	\N	\N	\\xf6bef27b60b52c2ba937db0931f9e2d2ff7cd6bbda5e9bcfef154323782a8c86
42	3	1	7	key/019	2	f	19	\N	\N	\N	\\x0903d2505265a0eba3260ac79ddf9e34793a62269a834a0436e695de10851f3e
43	3	1	7	key/020	2	f	20	\N	\N	\N	\\x5f59e05b348df89723d4a77a9471616321cc13cb0f9ff99f8f0030de7b3f5bdc
44	3	1	7	key/021	2	f	21	\N	\N	\N	\\x3678475cc62522f3668560eb77023723e1b25a35ca82d5c155717dfe73e5e3f0
45	3	1	7	key/022	2	f	22	\N	\N	\N	\\x798b3343bd8adc5fe8513d044873488735c0dcdd070dc2af01003440f1d1f5f4
46	3	1	7	key/023	2	f	23	\N	\N	\N	\\x8a91de314377c67b97091c0e3cebf1200d0a558e02d17a72eed88dec3ccd711f
47	3	1	7	key/024	2	f	24	\N	\N	\N	\\xc0a46df291e68b1cf4fd16410835aa8c6398eb3e5f0cfed821f8a8a1d468e975
48	3	1	7	key/025	2	f	25	\N	\N	\N	\\x0ac91126c72d1f4c950c22dbf655838901c1aa59abc7c910275f69d185b54249
49	3	1	7	key/026	2	f	26	\N	\N	\N	\\x1091b5416d2806056100c1a3946d513c48a1e4faa12ac1250c6e68ec27cd28d6
50	3	1	7	key/027	2	f	27	\N	\N	\N	\\x09b8a476300a152317353494a68ebe0f64a07639df01c9b13d3bff836cf01e87
51	3	1	7	key/028	2	f	28	\N	\N	\N	\\xc81c1e2cd2bffc112dba6c009b9d96197d97acd7fb7ebe4fce0cb7034b8fcf1c
52	3	1	7	key/029	2	f	29	\N	\N	\N	\\xc1aa4823d59600b20406abf77471583bb613c0a9280fab337bb133c43cb246ea
53	3	1	7	key/030	2	f	30	\N	\N	\N	\\xbd916eb8f48fd969f546e77078a05165ba14a4931bd02d3d6c7173ec6a99d4cd
54	3	1	7	key/031	2	f	31	\N	\N	\N	\\xc44df7acf793bc58a22a443e53cbfab7910736b635df4437db5030d67bcf8306
55	3	1	7	key/032	2	f	32	\N	\N	\N	\\x50061970fe651690a4854d787d1bf31eeffe741174d7d2d7e9d2ee8496825123
56	3	1	7	key/033	2	f	33	\N	\N	\N	\\xe44ff9f7886536237d9dfd930845cf4864e67be53d774dc059015caa0ebd7747
57	3	1	7	key/034	2	f	34	\N	\N	\N	\\x52fbe543345b2a4d6d32a2af173a54d4f5f468eed80285123213990fc4228aba
58	3	1	7	key/035	2	f	35	\N	\N	\N	\\xce64234675f5a562a39e5eb7ecafe366f96a26294bd29051d226f9c62f9f6aa1
59	3	1	7	key/036	2	f	36	\N	\N	\N	\\xfb1c962eeaad19722095d0889061779bac4965b31ea4a9c6800780f4ec35a8d8
60	3	1	7	key/037	2	f	37	\N	\N	\N	\\x4d051ae73c5b11f0f59f0f5b2baa6ff8260048ba00156677801c9711c1a3245c
61	3	1	7	key/038	2	f	38	\N	\N	\N	\\x00ebfdcf9cb57728d7f6acbc21bf7db0680da2ea922a81d25869316948173c25
62	3	1	7	key/039	2	f	39	\N	\N	\N	\\x7456328e6ab8f71e063b8230ffa5160016372fbc4105dcef519e55807cd461e3
63	3	1	7	key/040	2	f	40	\N	\N	\N	\\xbfacca47e4c016fb9b232808af3dea5629a422b72ff4e16ec5978c5e6cd55b29
64	3	1	7	key/041	2	f	41	\N	\N	\N	\\xd0f5ae2019d825b627f3cfe59464750299afd6fd3f17419cc0fbd298f9c2facd
65	3	1	7	key/042	2	f	42	\N	\N	\N	\\x9d13e64aaee178903648077d2023d56ebb375b85df4cf0c1e6192d0edb12188d
66	3	1	7	key/043	2	f	43	\N	\N	\N	\\x45a50aeae12042a3dc8e1429fd766901e52703499317e665150101bebd9c483b
67	3	1	7	key/044	2	f	44	\N	\N	\N	\\x325c6b3dc8249b04373c83f23e9a54758c510e4fa82de4b62eeaed12e9f4235e
68	3	1	7	key/045	2	f	45	\N	\N	\N	\\x24b8c11fef051e356ce0208863529973dd8922e70d9c9964ce11e239b0a6c4c7
69	3	1	7	key/046	2	f	46	\N	\N	\N	\\x12b52230589d9095d6148030fe5abd4126188edb9f8abb486f1e7a80f4493a04
70	3	1	7	key/047	2	f	47	\N	\N	\N	\\xc1fd87f16d641068a3636c1352e7dbb2e58972c865822496dc397f17d82793a1
71	3	1	7	key/048	2	f	48	\N	\N	\N	\\x5c735be4c532f24e206614ead2b167e966738c7a2ff4bf4e7ea476bb9a1b1114
72	3	1	7	key/049	2	f	49	\N	\N	\N	\\xa61ca050ff317c0484807c079a33e079c173f25f1e4d2b58f66372d2c1d52161
73	3	1	7	key/050	2	f	50	\N	\N	\N	\\xf7da8fd3e72832fd878fc4af494965514556e5528206ac18f63669453a456ea5
74	3	1	7	key/051	2	f	51	\N	\N	\N	\\x1284be1326c1032708abd2143be8eb2dfa41cf9ef8e0c91ffdcb1b32a09f8f98
75	3	1	7	key/052	2	f	52	\N	\N	\N	\\x4091bf03093930696a923024e28ecbf528e293c5fe6f57dbcb48e69fedab0924
76	3	1	7	key/053	2	f	53	\N	\N	\N	\\x7d236170394b6f74703ae9081de176f7427b1a00c3a07d18ce17f8e804557d2d
77	3	1	7	key/054	2	f	54	\N	\N	\N	\\x141d0d5043dc63f548ceabe949fc34117f1564f66ee042447c024a78d8275b22
78	3	1	7	key/055	2	f	55	\N	\N	\N	\\x4a1176bc894c81f4f4ba4eba581ee895521c1963b125d1520ad409d5d6603e0a
79	3	1	7	key/056	2	f	56	\N	\N	\N	\\x353c6ac7a1101376b870538d42ee8d31c86f7d8aa07f1d4645b2f1bc3cc7ab7c
80	3	1	7	key/057	2	f	57	\N	\N	\N	\\x5cbf445c383bc1deeb24b1f299c461a83909c11dcbc1642021c0a8b5122f59a5
81	3	1	7	key/058	2	f	58	\N	\N	\N	\\xb9f03f9bf96e9e5dc003a3d12f393b1a6f494e398a882578058c6498089aae62
82	3	1	7	key/059	2	f	59	\N	\N	\N	\\x9c63ba8b120fd64b1da00d5c73176d85db6a0d9b9ee4f2a612a84bcc394d15f3
83	3	1	7	key/060	2	f	60	\N	\N	\N	\\xc017950a0ac7f04a68c6902c3a281369466b88ee3c0f98023a517876cf4efc7c
84	3	1	7	key/061	2	f	61	\N	\N	\N	\\x9af1c13fa9b1c72de3e23f14cdf313d699a5909419c4388c3fb108f9f1205e8c
85	3	1	7	key/062	2	f	62	\N	\N	\N	\\x411e189863f7a1f64eda4a2ca7a6a094a1d86492d7c18d55fc2e4b665d06d81b
86	3	1	7	key/063	2	f	63	\N	\N	\N	\\xb83ad17ef9e713a0c9f429a23ad74dfb0284160c51787897cf323a717080e905
87	3	1	7	key/064	2	f	64	\N	\N	\N	\\xcd36f99533d1a068fd32621611012d61717d5fec00e5851c44eb1715359f172a
88	3	1	7	key/065	2	f	65	\N	\N	\N	\\x6296868ae39cf10748af6b5ac0be0f88db33a6b60cb8179520e6b47e5af03e78
89	3	1	7	key/066	2	f	66	\N	\N	\N	\\xb01d66ee3ef56db5f80cc8f5556d4d174a4cbe04e56d76b867c9a3f2466f5e76
90	3	1	7	key/067	2	f	67	\N	\N	\N	\\x7a6ea5b05c114b04c63a6ceff39680a25d8b91a8eb5ffd876d4b49ee0d622232
91	3	1	7	key/068	2	f	68	\N	\N	\N	\\xbcab25b744660b5189bca8f2286bdf13637ec71a45583ba36e1acff0670d4c71
92	3	1	7	key/069	2	f	69	\N	\N	\N	\\x42005b3310a835caa1328c7e234043478b6474140039f0d0b43355ea92ffcc80
93	3	1	7	key/070	2	f	70	\N	\N	\N	\\x25b5a55d8e22273bd5d6343f2f41de96fd3d4a92a8d09b9f3f3343ce1fc9d822
94	3	1	7	key/071	2	f	71	\N	\N	\N	\\x636922f3df21d3d6225d87abbbabe2ea01d70492a7db93f9dd3c01d91dd8463c
95	3	1	7	key/072	2	f	72	\N	\N	\N	\\x4859dd89ec39be3f7343305f71997a4ad4f51e42110bd5dc0200bb154d1aa91e
96	3	1	7	key/073	2	f	73	\N	\N	\N	\\x71f861f2750167b1cddc79d266f2de25e72705a73f18841953eac677f7d9f8b6
97	3	1	7	key/074	2	f	74	\N	\N	\N	\\x13da85489ea8a40409eea6584683cad0766edd9a1a4df4c545d1a59d684a87d6
98	3	1	7	key/075	2	f	75	\N	\N	\N	\\x2ed51feb25bff43017901d72788b223737f9f8a41d8ade5f27f6db98f1dfcd53
99	3	1	7	key/076	2	f	76	\N	\N	\N	\\xf93cd951471adc1a0f114f9dd3b8d2ccbb01499e264c479949ee16fd5352379d
100	3	1	7	key/077	2	f	77	\N	\N	\N	\\x824502e64aa74160dd686bb3d5e5171edd31457d135a480f526d219c650a94a3
101	3	1	7	key/078	2	f	78	\N	\N	\N	\\x9f0fb4ab11884235f5cf9336290b33afe1eac3db4b18b5c4cfb6ef84f30f8b6d
102	3	1	7	key/079	2	f	79	\N	\N	\N	\\x0da3315566c47be30d8614c6751d720aceac89e2e910a6f929beb999a655b811
103	3	1	7	key/080	2	f	80	\N	\N	\N	\\x520a2d2dcf36d881b6b2ee0195fdade487ea30d6102556deec64c7b7d31b428a
104	3	1	7	key/081	2	f	81	\N	\N	\N	\\xb2e0ff3eb639c73999fb47b491f72cb3cd95cb5715efe9a36ed6ee25dc5310b3
105	3	1	7	key/082	2	f	82	\N	\N	\N	\\x74fe73ad5fdb201f0f0f79f8c84a451755cea28f5d58dbe452d4979dd1129f87
106	3	1	7	key/083	2	f	83	\N	\N	\N	\\x641c994608eced333c2a8591d5710ca0cf1d41c5f0ee12d72eac807c1cfb7793
107	3	1	7	key/084	2	f	84	\N	\N	\N	\\xfc2a8ae0ce3888f5c26aca1b19a982b4c5310161a28ae6f6415f1a646477039f
108	3	1	7	key/085	2	f	85	\N	\N	\N	\\xb57bce505205c6a96f3f0071d334b9005502b86ccf4f7acb81279789b3bb45f6
109	3	1	7	key/086	2	f	86	\N	\N	\N	\\xf584931b802648a1a54ee05598617bbf8871fba607e6d08df0d67ff15ef8ea79
110	3	1	7	key/087	2	f	87	\N	\N	\N	\\xe769414962c8c9a055bc84a06e68ca110a509e5fd785d81a934d87fd0f1902e1
111	3	1	7	key/088	2	f	88	\N	\N	\N	\\xb963308316bea9222630809fc97bfbc8609013376315dcf7d23dd9d767404967
112	3	1	7	key/089	2	f	89	\N	\N	\N	\\x39e028150ecc7d8d2302886119fbf6a0db9d16e484e2eb4443cdf005c86efbf6
113	3	1	7	key/090	2	f	90	\N	\N	\N	\\x82e2ca0c3a94b1066632d183c506a75d25e05371ceb8eb87d2ae774e87543d29
114	3	1	7	key/091	2	f	91	\N	\N	\N	\\xe1e022ce087ae88ab2c3b8cab19556fc1853368c4417a2d6b04715d733897acc
115	3	1	7	key/092	2	f	92	\N	\N	\N	\\x05b46791f2816d94a3bae16d191e34bc9d145a3483d6a68669eba015fed3b37f
116	3	1	7	key/093	2	f	93	\N	\N	\N	\\x0e61d854d06b2b1b3d97c04df8686005c8ce1f1cf6e30a0f7dc05de58423c8e3
117	3	1	7	key/094	2	f	94	\N	\N	\N	\\xb1f9a8d0013af08f88013e73f17e173fb369752b9cbc2092503649b650df2c3a
118	3	1	7	key/095	2	f	95	\N	\N	\N	\\xf2b5c17fa23931911a833a35dde471497937bd33e5dc7c959e6d9589484bc565
119	3	1	7	key/096	2	f	96	\N	\N	\N	\\xe1f5692d39b4c9677b41f18226a38f5ce158b8e75fda0ffc9f3a2d8576e6e768
120	3	1	7	key/097	2	f	97	\N	\N	\N	\\xb5c5351e62e18c853e3d455278cd23e8126a328f21c836662acb550a6b9d52b2
121	3	1	7	key/098	2	f	98	\N	\N	\N	\\x1da7804856bceb819c812d32c2075aebc2a32e8f317a069838c70445dd921fc2
122	3	1	7	key/099	2	f	99	\N	\N	\N	\\xadf28de1f85eb99a7d3a5fb4c2727fe37d85452fb5d2a25e7a9bc0366b11b9ee
123	3	2	8	key/000	2	f	1	\N	\N	\N	\\x17399c39c7f70053a442140af9494c79ced231dded4cfcaca4c1ecfdce54ae1e
124	3	2	8	key/001	2	f	2	\N	\N	\N	\\xc520e9dc259b83fa86361af01f44f352b87b45fe8d33f18a429f524414426f6b
125	3	2	8	key/002	2	f	3	\N	\N	\N	\\xcb4ddedd66ecb019149a6a72a39f31f74def22a0b49d753b6475b939affaa464
126	3	2	8	key/003	2	f	4	\N	\N	\N	\\x37b0b8f90ff89d3d9ed403a40c4b98fed400e65b145a8e6b93b13cb403df23d6
127	3	2	8	key/004	2	f	5	\N	\N	\N	\\xf191d1748414f5074c4f96785a87d421b02443a9476657ea03f99cbd1d3f9b6b
128	3	2	8	key/005	2	f	6	\N	\N	\N	\\x6acfb1187d871901ac5f00620affa3153578667b3d48892f7d81d9479b1cadb8
129	3	2	8	key/006	2	f	7	\N	\N	\N	\\x085978ee2190f6158cef8a43eb6602bdb9a3c161c86e76f1f0ca8b844b7c46d4
130	3	2	8	key/007	2	f	8	\N	\N	\N	\\x386b49cb2e6f78277a52a2e6fe27ff2d4bfcf73b58aec9885fb8b56f8667faef
131	3	2	8	key/008	2	f	9	\N	\N	\N	\\x0735444396db4e439fe2a2ebdaec4552bc7faf9e89295339729b21faac2aa823
132	3	2	8	key/009	2	f	10	\N	\N	\N	\\xb2af7398cc8212db4875c50b5a2c8bcff969629c38bf5f67d9f77ba2792ce0e0
133	3	2	8	key/010	2	f	11	\N	\N	\N	\\xfeb286e20aac7c7835cc0c42b1b8b81adebcf8ec8845917ed0eef1250b17d1f1
134	3	2	8	key/011	2	f	12	\N	\N	\N	\\x40c011661716b4c73530c872d8e2e67263b1a9c1b1a41aba9a8ea16d429940c9
135	3	2	8	key/012	2	f	13	\N	\N	\N	\\x957685f6770a6bdd88b9c3250442a22f717a8141099de5ef4634f06873ab9b87
136	3	2	8	key/013	2	f	14	\N	\N	\N	\\x5ee71a4796b990231ba42a0730fbbe3cd6f65a2035caa67664210c6b10c1e5c1
137	3	2	8	key/014	2	f	15	\N	\N	\N	\\xd1295a0d15ea7127717fafb458f36b81e9a441c377ffd588da41eae9201aaedd
138	3	2	8	key/015	2	f	16	\N	\N	\N	\\xdd87b9f743b9f90118f330d1ff86e8d22e2bc7ee604fa1869a1d3dfafe4a2ada
139	3	2	8	key/016	2	f	17	\N	\N	\N	\\xdb6b7aded4b56f7a76c1dcc55f46e9dc0efc532d7f30950c91ddb66b02ebfee5
140	3	2	8	key/017	2	f	18	\N	\N	\N	\\x0e9cc1c006b360d779b84a56783842b243e737e35ffa417bc98ca1ac8acd3754
141	3	2	8	key/018	2	f	19	\N	\N	\N	\\x937d2c1d7484fea208764e615cd983126389175e5337d80d5909ce85b4af06fb
142	3	2	8	key/019	2	f	20	\N	\N	\N	\\xfc5d134ff706ce0fb7684a4394d4aef625a55034b2e4d86dccb16deea8765748
143	3	2	8	key/020	2	f	21	\N	\N	\N	\\x730173fbbe7eb8521b3c34f7c0a0aed77ea2a176e6f7684ae1087319030a6f67
144	3	2	8	key/021	2	f	22	\N	\N	\N	\\x8d682dd9e31a93264bd71add17b8a6715a18f7f0998d1d5a36d6b61b09739271
145	3	2	8	key/022	2	f	23	\N	\N	\N	\\xa2f3793f04a3194fcf15807fe2db7771358739bd49cec7c2f0a3efc892eb2297
146	3	2	8	key/023	2	f	24	\N	\N	\N	\\x9162f067d80a04a6a17c9956292eafae7b55ff51569cb5d693e504cf7f7ae23b
147	3	2	8	key/024	2	f	25	\N	\N	\N	\\x0603805d4ebde14389eb98ac1e12b1f5c70ef8e99f12a4cb25f8c70c41984d29
148	3	2	8	key/025	2	f	26	\N	\N	\N	\\x7bfe33f87f0ab5e808e384d2a6471cdb115fd557ff8ef4ef28ed86e8c6c93ff1
149	3	2	8	key/026	2	f	27	\N	\N	\N	\\xbe889fff429c28443cc59cde50c03bbe6f69c860c745ebc03679ee4d602c2224
150	3	2	8	key/027	2	f	28	\N	\N	\N	\\xe7ec39be33906e228ed9043b1f9115685b228a729769ccf4752bf183e49be582
151	3	2	8	key/028	2	f	29	\N	\N	\N	\\x10f2bc404108451296a5b7ef83fa2f4826d423711bcf6b6a2aaf7b69eae5563f
152	3	2	8	key/029	2	f	30	\N	\N	\N	\\x6a589b343c6dfac634e0bf8a34ac03c844fe836ce6d04cad50a4643e7844b95e
153	3	2	8	key/030	2	f	31	\N	\N	\N	\\xb298d52f172fcde8791d72f0ef3ded569a0d6e5dd8d74fdfa0258e74c3b74896
154	3	2	8	key/031	2	f	32	\N	\N	\N	\\x920d2f5f120a54b84c167300d65b5687aeeefe2fe4b6540b167b46c60c11cba5
155	3	2	8	key/032	2	f	33	\N	\N	\N	\\xcc2ca3b549e9044bdd478cede229d62539f36864a1f84367084de1a1d02a3256
156	3	2	8	key/033	2	f	34	\N	\N	\N	\\xac5abe13432341e5666e06627aa7cecc62e96987bd4f51bc0494e36bec94b43a
157	3	2	8	key/034	2	f	35	\N	\N	\N	\\x505491052fa260a4bd7c84c282341f40a3e08ad591b9680d883ebd064b7da315
158	3	2	8	key/035	2	f	36	\N	\N	\N	\\x53a6b501adcc5aac19c53f590baab955ba24e7d0e43598d4f160571922658698
159	3	2	8	key/036	2	f	37	\N	\N	\N	\\xfd776673470efb1124671d4203acc208c147ad6cc68c7c0582cdd03c113882e8
160	3	2	8	key/037	2	f	38	\N	\N	\N	\\x54c23f8240904b6afce42847eda76378d8f0f89db86b7074cf01fd7681d55b4c
161	3	2	8	key/038	2	f	39	\N	\N	\N	\\xae1cae4f94821d0b6b756dc9129ad63a4391d21ceafc35aa759a7c76edd0cbc7
162	3	2	8	key/039	2	f	40	\N	\N	\N	\\x6c5aefe70e67c2a87d3b69ec38913f09ba3aa93f0ecf1f1d5e91cbfd54caf2a5
163	3	2	8	key/040	2	f	41	\N	\N	\N	\\x0c3d02059aa146e59c8ce8469c425fcf4e55c5c548634ffe4f507add65248088
164	3	2	8	key/041	2	f	42	\N	\N	\N	\\x07866a2f7b9c99c4e7da83716605bbb1400f33457157787511fb636e62c8468b
165	3	2	8	key/042	2	f	43	\N	\N	\N	\\xeeaa8fb1ff840b156aac9281eaa85a0ec3f38a8a945a7a043e588cd813cccc73
166	3	2	8	key/043	2	f	44	\N	\N	\N	\\x6eada7ddf2acdbff25a1ecffc391fb9c7a5553a1a675a7609a2fecd0b612d7f2
167	3	2	8	key/044	2	f	45	\N	\N	\N	\\x2d17e6456ed04ad6e104748995caecae41fbda0c80db2c29a6c4782ff8d48048
168	3	2	8	key/045	2	f	46	\N	\N	\N	\\x099f085071bb78274a9eccb37e68f2ed326529909d573dbbe1e03a606f3b245b
169	3	2	8	key/046	2	f	47	\N	\N	\N	\\x14119789a0f656b7308df417c4c8b8bce0486eecd0fa0e90ef9863ac63944458
170	3	2	8	key/047	2	f	48	\N	\N	\N	\\xd7fb519fea5a9ab34eb0834dde76cdae5ed34090339243e613748b8fb836a182
171	3	2	8	key/048	2	f	49	\N	\N	\N	\\xd109e9eccca6e0bac635d7fe8529349126ce2647ea3eaeec30ba3d4b88553225
172	3	2	8	key/049	2	f	50	\N	\N	\N	\\x6d666b275fd58906912964692cdd6ed51dd7be9b8e8332973e917fd7a81482a9
173	3	2	8	key/050	2	f	51	\N	\N	\N	\\x3bb1678c4be62117836bc39760834da329648849d28526c539e96a514a9c1bcd
174	3	2	8	key/051	2	f	52	\N	\N	\N	\\x60b00fd162d47b6f1a09f0a9d6e3114fcf23f51bf5bc956db3b0c77f65ca787b
175	3	2	8	key/052	2	f	53	\N	\N	\N	\\xf86b32227aed0324c0e9042df8ff5abc958313ed8d2d23d7e35f6987477af7b6
176	3	2	8	key/053	2	f	54	\N	\N	\N	\\xb21b3a903ba0c78e93cca7544de977b6439b0f4e7d5460dc8e74e124e932e7ce
177	3	2	8	key/054	2	f	55	\N	\N	\N	\\x47858cb2ffbd7c94f58c60532d46e51b463b274ca25d59c02cb81ffcf97c083e
178	3	2	8	key/055	2	f	56	\N	\N	\N	\\x76df77f3532fca8e0c1ee5a287fff6ce83c434824f1941f4c22bedc6a6e13583
179	3	2	8	key/056	2	f	57	\N	\N	\N	\\x6ede710cc3029003a1664ac07d9b886b25bc146426e50604f626ce0b2a3cc951
180	3	2	8	key/057	2	f	58	\N	\N	\N	\\x04b9c90ce0e183226f8cb873339844de56e3c90624ad25536ed4fffb3ec529f3
181	3	2	8	key/058	2	f	59	\N	\N	\N	\\x1894e0a7cae076693db88e6df59590390df606464e2e739e5169aeb420f973fc
182	3	2	8	key/059	2	f	60	\N	\N	\N	\\xd35f1b3db8564f881da9bef5357eb1081b7eebab62618aeba43e5435996b44e0
183	3	2	8	key/060	2	f	61	\N	\N	\N	\\xb71ff8be774b09f8f83332ef46546138e5392cd0d9993d86563f40bc6bdb85d5
184	3	2	8	key/061	2	f	62	\N	\N	\N	\\x031e19dddef5502fdd26b8bf0ad7f3518b025824dfedbd788c1e68967a5352b9
185	3	2	8	key/062	2	f	63	\N	\N	\N	\\xf547714664237ca4c4dbf24b7d8424a89b98c0f0c6bafb657daa8387ac12e405
186	3	2	8	key/063	2	f	64	\N	\N	\N	\\x1bca071cf42d9f8f9105075a5cfedd9a06c42b4dea7ae17a6bbb8a6663977cc2
187	3	2	8	key/064	2	f	65	\N	\N	\N	\\x64e7a8e86d18e99c589d17454f129473640be7c64e0078cea4700de42fb218c7
188	3	2	8	key/065	2	f	66	\N	\N	\N	\\x8a9d679f9ad641a6583e7c180bb16ac70798aa56373b118d1f9bee433a701a8a
189	3	2	8	key/066	2	f	67	\N	\N	\N	\\x85d66fe222553b3c10e54330286127ec051abe6785aadb21d21c4fb65f57cac6
190	3	2	8	key/067	2	f	68	\N	\N	\N	\\x28b2d0e81e663cf0c229134a12fe4388492eec8282cb7020141ab621b48b2540
191	3	2	8	key/068	2	f	69	\N	\N	\N	\\x22b79b9eb6a11561383906488d1f9a372531ea4b49beac3159abd63190f401c8
192	3	2	8	key/069	2	f	70	\N	\N	\N	\\xac8b0c6906d724008505355c41ee2694eb577b9d4f09614c86f838ffcb844615
193	3	2	8	key/070	2	f	71	\N	\N	\N	\\x07f40824c5e2f6417e0be558c829d54c8657a6dfa1e66e3a71a1d046dff0ae2d
194	3	2	8	key/071	2	f	72	\N	\N	\N	\\x8bcc98aecdec1ebc0238d4af26fc8b0ea6b28499534eaf59c7ccb4743150b739
195	3	2	8	key/072	2	f	73	\N	\N	\N	\\x683a7392e1243c8aadd5ca646e93af0d21124421ad97a061b28b6d0e4c557732
196	3	2	8	key/073	2	f	74	\N	\N	\N	\\x73bac2b999cd9a528738c290ebfddd8d07c6670906dfd500a5f8f13034f08865
197	3	2	8	key/074	2	f	75	\N	\N	\N	\\x5122f235d0286192c8a9b333b050a456229423d2d5aafd8b354eb78feb8676dc
198	3	2	8	key/075	2	f	76	\N	\N	\N	\\x8722a20d155a1e71fc5d4bbe78c210f15d6927841e6ffacce8ccc8c81578a222
199	3	2	8	key/076	2	f	77	\N	\N	\N	\\xc526fe81986682e83903e5de843c6efafe79cdebc90d1de518654bc194af71b0
200	3	2	8	key/077	2	f	78	\N	\N	\N	\\xfe1132ddadf3433b834856bd2bfb1c642f319b4785e0a9503a2d548e11ba97e5
201	3	2	8	key/078	2	f	79	\N	\N	\N	\\x0565d7db8d33f1ce152ffe98c7dfd3e06fdffc90e48581835527601448239736
202	3	2	8	key/079	2	f	80	\N	\N	\N	\\x4954f2603d7343725b7d973fdb72d576c571036b96c3d7a79dd9d392df384e9b
203	3	2	8	key/080	2	f	81	\N	\N	\N	\\x7d76a7656150eaa16ab5726cc34b3f8bca2f4b907e3a30493d03660d5952ce22
204	3	2	8	key/081	2	f	82	\N	\N	\N	\\xf006f5b337c9a6faea89ab135390c3b22d703dc631e75e9a2463114d0c29c4e3
205	3	2	8	key/082	2	f	83	\N	\N	\N	\\xf90ee30534e34ea3d6ea4f3b84cd3d55d10f523cc36b29e1cb230ccad8cd99c1
206	3	2	8	key/083	2	f	84	\N	\N	\N	\\x07ac2408dc068fa5f6e8f1bd5cfae7e8b639415e1801be0672839ee88bfbb3b3
207	3	2	8	key/084	2	f	85	\N	\N	\N	\\x99bdafbd4f8d9e05791d2394ed2ba6919635bcd6fb3ae834e2619d66b853ec7a
208	3	2	8	key/085	2	f	86	\N	\N	\N	\\xb32266a459a0cc6cd588a8a30dd1a835bcd83f3fe8df88c59a031bae6d2e23ef
209	3	2	8	key/086	2	f	87	\N	\N	\N	\\xaff7964b444f28a1ea9b2d108989c3fa773ada4f866c7df403fbc8f4fcb374ee
210	3	2	8	key/087	2	f	88	\N	\N	\N	\\xcea22833269dc8f328e3ae765b881fc2541adb3f2c5d4808857ad24b5a832415
211	3	2	8	key/088	2	f	89	\N	\N	\N	\\xc3087b64c1a47d94fc7a59feb313ce30aac4111ed8f5b77286d54052e6b68311
212	3	2	8	key/089	2	f	90	\N	\N	\N	\\x63ac239230fb1941355470b04a144a3b693edc9a01c80b28cfa64b50ac301a04
213	3	2	8	key/090	2	f	91	\N	\N	\N	\\xf5d30a0d8784a19418737e62d08fef6001a215cb3afcb7bb74ef08359e65f9d5
214	3	2	8	key/091	2	f	92	\N	\N	\N	\\x0872f3089d06b07a5daac747593e2736c306f6ce286112bff3b9969f1dd7081b
215	3	2	8	key/092	2	f	93	\N	\N	\N	\\x332d54facbb21296ed9c38ebca2bf8ebf0a577c3c613c98ffdcf532f518b654d
216	3	2	8	key/093	2	f	94	\N	\N	\N	\\x1fc614708dfce16acff36e9cd31a84738398e3ab6d4f456e47028326258a8ba3
217	3	2	8	key/094	2	f	95	\N	\N	\N	\\xad387a2e22b5ca2ab95fd961bcb3c8460e3e6e9466e0d11086dd3a0696f1d9a6
218	3	2	8	key/095	2	f	96	\N	\N	\N	\\x382869421b275957c6bf455be0ac6d2c186d82a3a653599af18915cc34bc82fe
219	3	2	8	key/096	2	f	97	\N	\N	\N	\\xb96c799764ee20dbf1324d4a60aea9b91f029f20237684b0cf79ff90748656ab
220	3	2	8	key/097	2	f	98	\N	\N	\N	\\x7940410c15aac213c89cc4c25774acee5ff79e39e772c5f608b27fc8829114a3
221	3	2	8	key/098	2	f	99	\N	\N	\N	\\xc72e50c7b08c0e957106a3fb4d6356a6027efc203e17c31b60ecd41181dd784a
222	3	2	8	key/099	2	f	100	\N	\N	\N	\\xdf64a2d9e15a3fea01800ff58459654d58bb670fe95554d882974e0e108648cf
223	3	3	9	key/000	2	f	2	\N	\N	\N	\\x3108fc88b3e55644c4436b6314e400a737bfeb345204a9a9b996f5288d942039
224	3	3	9	key/001	2	f	3	\N	\N	\N	\\x4436b0cbd64325827aa9a4d2bcc7b94c0c3dfdf4d1291c288e168c0058616773
225	3	3	9	key/002	2	f	4	\N	\N	\N	\\xa8bb3b1e18e8da088ca114dc591b01cb04967511d13db08eac87ab34385a7247
226	3	3	9	key/003	2	f	5	\N	\N	\N	\\xefa00f8378fa1144a2fa3908c83f3833153d85cac93deae1127e999ee008f36c
227	3	3	9	key/004	2	f	6	\N	\N	\N	\\x78213f84c50dd491072b84b5fd43c25014489ac6a6b26a6a57683320b9b38a48
228	3	3	9	key/005	2	f	7	\N	\N	\N	\\x92f160a255a65144b0859c6e2e3aca02c033970a05e68aea740f103210507f5e
229	3	3	9	key/006	2	f	8	\N	\N	\N	\\x98824916eab1c9ababb951d8b1a9097e18f8572c156983ffe41c0f0af89a5bec
230	3	3	9	key/007	2	f	9	\N	\N	\N	\\xf42e700782d900b6c15271b015c4d11c58d7a4245ff4faf1bec2a9a17fe9c822
231	3	3	9	key/008	2	f	10	\N	\N	\N	\\xb54d2a87e9003103375a04b4e9de1e2f38a18351bdd3c49648d4a9d6d6b78521
232	3	3	9	key/009	2	f	11	\N	\N	\N	\\xa6b5fbf18265ed882e6f2a00c1cfb115c1f4197f70e3dec9cf59bad970e114bb
233	3	3	9	key/010	2	f	12	\N	\N	\N	\\xd59cebac1143917b5bbf9d6e6502f6a08ab245f0be7d6c3477b36e39fc915a3e
234	3	3	9	key/011	2	f	13	\N	\N	\N	\\x75f2eb8ca780b150e3118049d2f7e9ccabc2de967858524084a7e22b999aa4ff
235	3	3	9	key/012	2	f	14	\N	\N	\N	\\x2c31923b5ead6764019e514d577f50339813c93d1369f2f7097d35eff8334052
236	3	3	9	key/013	2	f	15	\N	\N	\N	\\x77e4837f7b862ceb2ff70f0e5ccd9c7e7a7a3ef93b9f08e6ebfa863f9ea90ed3
237	3	3	9	key/014	2	f	16	\N	\N	\N	\\x583c16686c1027b9c3c6db7c9ed364b1fdcc2c4fd45bbeaf0852f2a037273ef5
238	3	3	9	key/015	2	f	17	\N	\N	\N	\\x9407cda7ac3ae1e83c93a1f0d54ca5485aa5a74f945fd17ca50b294f7fe88c92
239	3	3	9	key/016	2	f	18	\N	\N	\N	\\xc74e8f8edbf9e2eadf1a4f84ca50481ecc26665459adff3a94b4aac17e4738a2
240	3	3	9	key/017	2	f	19	\N	\N	\N	\\x54289b3317153a02d729400cc04a2c1a0b57aee33d61d7c5f6d658fec0452266
241	3	3	9	key/018	2	f	20	\N	\N	\N	\\x1aee8aa946bf30cef319ac13b301e93c5102db56ead71e10fd23f32a80fd0c31
242	3	3	9	key/019	2	f	21	\N	\N	\N	\\x85bb74636ccdcb5d191d75767c77cf1f8ff4204b33090f7906ff6694a53a98e3
243	3	3	9	key/020	2	f	22	\N	\N	\N	\\x77c93634b41fb642a511f9e35ad0cd18e967b283a90e5ce666e285b8e947044e
244	3	3	9	key/021	2	f	23	\N	\N	\N	\\xcd02c58f57924743c841aca3d003e08faef3ca29c3e68a0512694fda546de569
245	3	3	9	key/022	2	f	24	\N	\N	\N	\\xe2045097e1ea27e81ffa4e4779d5d368e224357dc6a27827907d8818bfad1a82
246	3	3	9	key/023	2	f	25	\N	\N	\N	\\x1a32a26ff94a405650c4ded8380c68f5469ee560fa0d86382a66672d4fd46a3f
247	3	3	9	key/024	2	f	26	\N	\N	\N	\\x71e2eca5258f763b3513ae56becbf5617b690eaf97d15a75ab645b52048d29a1
248	3	3	9	key/025	2	f	27	\N	\N	\N	\\x1b6fede26c8a27e3eedf48626befa97c0cc6a8259c142b2d793959f8987d0003
249	3	3	9	key/026	2	f	28	\N	\N	\N	\\xbe1c404ace559ff858e8a28ca6de7f13e439375e3394877294a43200ca7433a3
250	3	3	9	key/027	2	f	29	\N	\N	\N	\\x08183f1089efb0a33f9d8043d381f4570d843608538b6a070089d0ce267ea740
251	3	3	9	key/028	2	f	30	\N	\N	\N	\\xbceaa71a04855e279e29e237459c033db87178d0108bcb69584dac342af25a1c
252	3	3	9	key/029	2	f	31	\N	\N	\N	\\x33db319409d36e76c38b7f40d8b10b3bfbaf9f6b4c345ab10fb71a7dc4d3cfc5
253	3	3	9	key/030	2	f	32	\N	\N	\N	\\x03ecc33af50bd815cb12017709dfa26b96942c46816908bd94f8c9a756f2b2ba
254	3	3	9	key/031	2	f	33	\N	\N	\N	\\x7bc4334f49c22ba186633efab29019372947a1a95073a2c38062513278b807f9
255	3	3	9	key/032	2	f	34	\N	\N	\N	\\x117c0347af97d0712e1d29b6473e6b7ceae75442f82ff7df4c43cc0d6e13e8bc
256	3	3	9	key/033	2	f	35	\N	\N	\N	\\x23cd5979d7502b4f25d1c9ec2ed4e44232df7ed4dad4e85152cb9bec5d7cf429
257	3	3	9	key/034	2	f	36	\N	\N	\N	\\xd0f7850faee92d9418af841b89fd2021bdbce3d54c2175df8bf1da3f43a4895c
258	3	3	9	key/035	2	f	37	\N	\N	\N	\\xc29cc760844092940a1f4de8a9f33028567b832c96ab921c4a505d672bdf5369
259	3	3	9	key/036	2	f	38	\N	\N	\N	\\x085d60a90ae0c522f7dc0c3d6d26ddfda8c0ef9dddb54eb3ad64417f871ce738
260	3	3	9	key/037	2	f	39	\N	\N	\N	\\xe147c688e26c4d04587392cb0a7dd1c3a39e626e2fd264a53dc22a3ab039bd55
261	3	3	9	key/038	2	f	40	\N	\N	\N	\\x97264f1775810c8eb7697ae6c5b3294004283a3456e713182ee7b789c5faf818
262	3	3	9	key/039	2	f	41	\N	\N	\N	\\x9d25369c597da924088f047d2bbcc418b178540ff8d17cd10d02fc1ee451fae1
263	3	3	9	key/040	2	f	42	\N	\N	\N	\\x3adf7f04ce31640882de8127d632dea38f15cc43cea655aaa74e838ec0c0b8fd
264	3	3	9	key/041	2	f	43	\N	\N	\N	\\x08100741412a22a48ae1d2e306b3ebbdddf84dc5de37cd44383ad437fd018323
265	3	3	9	key/042	2	f	44	\N	\N	\N	\\x30d735664188ae8915a64358617eee25fc531abffe6a0317fc39eb7784bf8327
266	3	3	9	key/043	2	f	45	\N	\N	\N	\\xa1ea95e4ff50b2e97725ff6ff7b6781075ed410a7d20d54ff5545f019b056350
267	3	3	9	key/044	2	f	46	\N	\N	\N	\\xd36367b756dc5c7f18ed64ed90b23fde490cb06e28a2451231812fa67a8377f8
268	3	3	9	key/045	2	f	47	\N	\N	\N	\\x11ec5d0d2a9cb3c48827c48f8e028e056db06d9c47b85aa4655dfa61e5799e84
269	3	3	9	key/046	2	f	48	\N	\N	\N	\\x3dc8a8c7833edd60327bae52f3c965c4327375c990db636345113cf20e65ad1e
270	3	3	9	key/047	2	f	49	\N	\N	\N	\\xb4287a2b21780b9724d6694af242b2b9ee7bb535866eb9c8ed91a534bc654ba6
271	3	3	9	key/048	2	f	50	\N	\N	\N	\\x958ab49b1f090d074123cae310b74a2332ed11705ebb935fb3eb205a33b77645
272	3	3	9	key/049	2	f	51	\N	\N	\N	\\x22535e7770c76f413b87289bc65e40d357dd8c9680bb43a373a6c3893fe7f58a
273	3	3	9	key/050	2	f	52	\N	\N	\N	\\x63ba01d1dedfde5125d956822af568331263e712ba7c0fe7d851e0f0ae04f8dc
274	3	3	9	key/051	2	f	53	\N	\N	\N	\\x5ec69fe330bb7a4e85e51f142f67d0aaf9ec43623089b1a8f3b5ddbf6ddd3cba
275	3	3	9	key/052	2	f	54	\N	\N	\N	\\x5af777b5b3bf21c6bf424ff509df068c045dc58389f25fae3220a1c98711bba1
276	3	3	9	key/053	2	f	55	\N	\N	\N	\\x3126b61166a10bce590d79d062bc8c036c65ffcd6da78d7197666bd64fa118b1
277	3	3	9	key/054	2	f	56	\N	\N	\N	\\x778c1db851db7d7bdb15e58454dba12d5da3a99272d3eb94159021c3df74bcca
278	3	3	9	key/055	2	f	57	\N	\N	\N	\\xed30c1e84fac52eb9d5313866bf5edda89d74ad5605bc3249792bdd2deee1a19
279	3	3	9	key/056	2	f	58	\N	\N	\N	\\xa7ea860f7515ccb9c34eea2898d66f71924498d67562285de6a6a514cb9d25df
280	3	3	9	key/057	2	f	59	\N	\N	\N	\\x55aeb8b292a2350eb077b1e3a06fcf90199ee76242d9d8273d1b44267a95bcad
281	3	3	9	key/058	2	f	60	\N	\N	\N	\\x2d754ccb1371c37287397f51fab6a064f2d8453d7e4eaf21027273aefabc6c72
282	3	3	9	key/059	2	f	61	\N	\N	\N	\\x712af3574d63f1df8cac407ccbcdffe912e5c4aa924fb09664d32a178c80b5eb
283	3	3	9	key/060	2	f	62	\N	\N	\N	\\x5240a848dbbe74cfff8ed0dd5831b3e5900b79e9f76a6eed80d13ba8ca9588de
284	3	3	9	key/061	2	f	63	\N	\N	\N	\\x5f9d6795619a173e779996be3a948d269c183b7378f16ed7815903e29fb540ea
285	3	3	9	key/062	2	f	64	\N	\N	\N	\\xea63e309560c62fc873c68d37b8898204d1ef7f8c69f3d1ba86c515dbc51a349
286	3	3	9	key/063	2	f	65	\N	\N	\N	\\x74d61befeb4f72848ca98a462a38ce9cb39c2d5cc8090b20a70bee4a60b54621
287	3	3	9	key/064	2	f	66	\N	\N	\N	\\x591e7d2bafc3068a7eadcd345800a5207d5db60d93f0e947fe63a6746127d7d0
288	3	3	9	key/065	2	f	67	\N	\N	\N	\\x1c0fa02829fa6b7cf0aa56d30aaa0e9e93d1de64d6fd914fbd43468bc04c1a3c
289	3	3	9	key/066	2	f	68	\N	\N	\N	\\x156c3905be92ea18991c47fa9f2a31cd832139f0a7a6195ab54962bf721c0a01
290	3	3	9	key/067	2	f	69	\N	\N	\N	\\x3ed73536fccb0c437eed1aea94c63fd9b91b3128012d75a15bb75e293a34ce45
291	3	3	9	key/068	2	f	70	\N	\N	\N	\\x54dd7ac5ab09ef6ba9a623333badaa96be4f6801625efbbca8830b653545012e
292	3	3	9	key/069	2	f	71	\N	\N	\N	\\x3711be4bbdcc5701ee21a6c041ffda6e27512f01c69bc4e0949e6c5ab9f9aca5
293	3	3	9	key/070	2	f	72	\N	\N	\N	\\x63ce25982b8145afc152e837e39748744850a9095c40c29e129d4081965ff7ee
294	3	3	9	key/071	2	f	73	\N	\N	\N	\\x249cc7855622fcfd81fcd6dbb0458419f8876cdfea9b1a86a43dfbb845a55d96
295	3	3	9	key/072	2	f	74	\N	\N	\N	\\xc3fb68fc2c36ccf18706fe622353ec7d4ad9c01650f34df3e8c1fe76267000f9
296	3	3	9	key/073	2	f	75	\N	\N	\N	\\xf8ec671a7c28c3af187cb2a0fdd6e55bbbc00a1668b1aae9eb3caa2bc3322a9d
297	3	3	9	key/074	2	f	76	\N	\N	\N	\\xe35ea0a312b73891ff4f6504943f8695974be39bfff974ecc3234e9e48a838e9
298	3	3	9	key/075	2	f	77	\N	\N	\N	\\x77495c218c3019c92bbd439a8c10273f0c2c724624b9f6a2e75928737cfd875e
299	3	3	9	key/076	2	f	78	\N	\N	\N	\\xcfb4b89045165d3104de53659b8c30e41405459989875c119008cd6591f58fea
300	3	3	9	key/077	2	f	79	\N	\N	\N	\\x03aa5a303ec7daa2010127bbfbc4f5b3035733c58a5ba84d912bf0835bda56fb
301	3	3	9	key/078	2	f	80	\N	\N	\N	\\xbbdd64022dab5289147119d8c06976badab2d3ccadb0f45bc6f53e6b13f3b5c6
302	3	3	9	key/079	2	f	81	\N	\N	\N	\\xa4a0687234925142096355e9c1e8635678a99a80b2ea086bf760be17b13c2851
303	3	3	9	key/080	2	f	82	\N	\N	\N	\\x4dfd2e8aa42140e050aab0d5ec45e44931a60a1e626d1bcac9228b129546a8ba
304	3	3	9	key/081	2	f	83	\N	\N	\N	\\xe4e8749c8f40c5fc0f86a6c406a5045bedcc23c939bfd516aa7f8c1efd7848c5
305	3	3	9	key/082	2	f	84	\N	\N	\N	\\x574be87dd63f323ba1a505fa58ccea2898cad2cfcbf55866889e2deffe325de9
306	3	3	9	key/083	2	f	85	\N	\N	\N	\\xb105e8a158499b4035a24dc3ed2bd0f33049605069998ef6587e2bad8704d515
307	3	3	9	key/084	2	f	86	\N	\N	\N	\\xa6de2a49d3b78563afd4884a13287f1b421127ce030ac198d5527f0522eccc1c
308	3	3	9	key/085	2	f	87	\N	\N	\N	\\x6e65ca063be39c764a4a3aad59831bf442c96ffb61e6ebb4251497ee09632865
309	3	3	9	key/086	2	f	88	\N	\N	\N	\\xbe2e94c57a84a47a6cc0806154c2022b496c26d4ccac004f47430c731b27f1e9
310	3	3	9	key/087	2	f	89	\N	\N	\N	\\x6d560ed2a950372cce0198f6a28bfee1f45d117fc0694dd1b67f1c33d5c0c9b3
311	3	3	9	key/088	2	f	90	\N	\N	\N	\\x52582efd89b11c5ac5099668f3dd5b82be4b4f2a86535f01d8fefe674a145ec1
312	3	3	9	key/089	2	f	91	\N	\N	\N	\\x37c4fb68b9aeb9d4a70fd02301a002767d4136e414bc01b6f339b45a401b39e4
313	3	3	9	key/090	2	f	92	\N	\N	\N	\\xf6c56f21dfa8e816f6d4c0a6e165a073dbeea59494e42e8e28ed598da978f091
314	3	3	9	key/091	2	f	93	\N	\N	\N	\\x5e2475e1e67727032c7bc662335fcb5e34b74b036283db505051cdf9a412171d
315	3	3	9	key/092	2	f	94	\N	\N	\N	\\x8ab5acd78d70df9ba24e7d14d45a482fdfb37cc04c8a6aa46afce1ac51c58387
316	3	3	9	key/093	2	f	95	\N	\N	\N	\\xa03b36cdb8b4bfb8c58b1a2b3dff25ce3f9d99d1c5eca274024464688a4f81a8
317	3	3	9	key/094	2	f	96	\N	\N	\N	\\x48a30858ffb206354920a2f02832b209feb5f26436a30129f639c523fd7476e7
318	3	3	9	key/095	2	f	97	\N	\N	\N	\\x52c4eaef2ee322524e48edab51bc15cda0faae02ce13bf984b96321e236bdeaf
319	3	3	9	key/096	2	f	98	\N	\N	\N	\\xc074ba5f7b017d31a2679fde04712bf531b707786e323d393abd508254b28460
320	3	3	9	key/097	2	f	99	\N	\N	\N	\\xafcd20dff66b47e8750a35ef1bd6c197e745b7ccbc39c23b604475d218882a26
321	3	3	9	key/098	2	f	100	\N	\N	\N	\\xef3dd6d61b2b958f594252330898a9b91a2d52cca57a193260749cabe62a3343
322	3	3	9	key/099	2	f	101	\N	\N	\N	\\x70cb7d5befa1b5d5e3d67d7842830231ebde82e7371a9cd4b55be6f8478e3a93
323	3	4	10	key/000	2	f	3	\N	\N	\N	\\xfff35e89dc86218f6abcb304061461c449728be6543f48ce018fb239d83ab608
324	3	4	10	key/001	2	f	4	\N	\N	\N	\\xe69b09389ce000aa1290d9a346be47522c2826f8ad53d3ca194ac8a354f2f522
325	3	4	10	key/002	2	f	5	\N	\N	\N	\\x7a3c64aec5b4ec6ed2922e899a3619952cb196f2b21ca2861af19be41830bf6c
326	3	4	10	key/003	2	f	6	\N	\N	\N	\\xa51e37cc5c2b449e16b1b5104b47653fa9a50c520308aec32a9ebe0fd82bb8ef
327	3	4	10	key/004	2	f	7	\N	\N	\N	\\x7640987dfa1f3b5389f8a6ee419ba4d122c69af8a8cd6a5c30ad8e7dd915eac3
328	3	4	10	key/005	2	f	8	\N	\N	\N	\\xcb4ce0934782b88e9bb09115cf7d1c39470418c1aab24efd1a050f876fc667c5
329	3	4	10	key/006	2	f	9	\N	\N	\N	\\x4ce99517e23140031caa8dac7ae229154835b95dec73243f28ada33597488b5f
330	3	4	10	key/007	2	f	10	\N	\N	\N	\\x24cb8c7fcd2e01a1af720d941831c5e830bab7e30e2c5390e47a82ac9f41ca6b
331	3	4	10	key/008	2	f	11	\N	\N	\N	\\xfe4b428457591a5d9ccae13a45d613d86b7f890e5fc93b4e0025f295504accc5
332	3	4	10	key/009	2	f	12	\N	\N	\N	\\x3a6054220d9d85599a5f344c5d322242eb7ef6f0ab39ccd8e61eb326598dd82d
333	3	4	10	key/010	2	f	13	\N	\N	\N	\\x8a9c0c75e2d196968aed9f24cb4fb98aa6e54df95caeb0375472b68a51f5a22e
334	3	4	10	key/011	2	f	14	\N	\N	\N	\\xd866eaff29dcebaa97b35ac7af17946c6c91707cb1033c9990dc0b2d2ef9f533
335	3	4	10	key/012	2	f	15	\N	\N	\N	\\x7156dad6640b533796354d70fbc536612063ff6c04321be1735dbb1aa11a3210
336	3	4	10	key/013	2	f	16	\N	\N	\N	\\xd94798facec8d5cc630d70ad4a1f7e59294c4dbc6f44e2bae955f5b47b70ddeb
337	3	4	10	key/014	2	f	17	\N	\N	\N	\\xb8f2d96179427c49554b17391b218eeee1a314742ab16d9a1e913873c8d157ad
338	3	4	10	key/015	2	f	18	\N	\N	\N	\\x029be0dd709734f8475767f41e759b0d83ecf2ba308e105d578887e184aef1c8
339	3	4	10	key/016	2	f	19	\N	\N	\N	\\xfc2d4557e0d445957f2170806607e3cad72f5de11c19901d48529c4a445a915a
340	3	4	10	key/017	2	f	20	\N	\N	\N	\\x79d3393cf8d6c86e3a0da19659510236ba62e97584d0c5ea1219b2159338d996
341	3	4	10	key/018	2	f	21	\N	\N	\N	\\xce48823e05baa36d7c1c9df431799fb955a73af4d3e29a2a5b855543850417de
342	3	4	10	key/019	2	f	22	\N	\N	\N	\\x79336069ad4831d9c5c34828eaa62fe6b58013f5fd98f55447774c6d25e6933a
343	3	4	10	key/020	2	f	23	\N	\N	\N	\\x558d3a5a844a2e0445c6dc143dc87f9a6cec3ccb2433a5dd6fe37911e0dc8f86
344	3	4	10	key/021	2	f	24	\N	\N	\N	\\x000cd9bdda29db26e7d7a7cb17015a724ec38865805c80297530fd228709b233
345	3	4	10	key/022	2	f	25	\N	\N	\N	\\x694fa7354b67a56ad5457a16e59e625e809c1a0544ee78d7d8175e887e645776
346	3	4	10	key/023	2	f	26	\N	\N	\N	\\xa60aabf8f8b83655d973f545c6445321b4e564f7db8f51aeafd08db73ebf081a
347	3	4	10	key/024	2	f	27	\N	\N	\N	\\xc3f8b8f606d332a706889199aebe29a757946b3a1d954ff0595eb42717048034
348	3	4	10	key/025	2	f	28	\N	\N	\N	\\x5d0634eb9f940fba183b2d7735df3bb88abadcfbcd2c89d9624dc0a908204b61
349	3	4	10	key/026	2	f	29	\N	\N	\N	\\xac77470f63aa3c10cb0961f4d464405ad6fe6db8ea39fca12d79c81418d0ed15
350	3	4	10	key/027	2	f	30	\N	\N	\N	\\x93d883c2fec23a3d8b52ed44a6bad74f5600c51044df0279d8ee6d7f8b3570c5
351	3	4	10	key/028	2	f	31	\N	\N	\N	\\xbb4d14ee11914845f253f4ef35365883d0c29092384b585e1baa6fcac3521fe6
352	3	4	10	key/029	2	f	32	\N	\N	\N	\\x4ec081395a1afe98af76a48683419e98c408034980ccbe7090f064654e23c32a
353	3	4	10	key/030	2	f	33	\N	\N	\N	\\x7d37963e3d5df9a512023c9a03baedc33253beeed7407658ab29b6961b021785
354	3	4	10	key/031	2	f	34	\N	\N	\N	\\xda779223c0cf067a5313d7861d1762183f353778a8686032f49cf5ac3bae3196
355	3	4	10	key/032	2	f	35	\N	\N	\N	\\x1367f95ef2aad04442f76fff25940799191875e8381be2a0d855172af9c4d469
356	3	4	10	key/033	2	f	36	\N	\N	\N	\\xf661b715dfe1a0d1c9ed1350e967d5b2ff20d52e7713f1fe3c472e4ee7482728
357	3	4	10	key/034	2	f	37	\N	\N	\N	\\xaa8e76c1bcb4049f5d83f678803b42a05397442b376d9f406d66fad9c8099ec0
358	3	4	10	key/035	2	f	38	\N	\N	\N	\\x5f52029eb51879d27a578d5ad003a8003a6019e79967f240f1df23ec37a4ef41
359	3	4	10	key/036	2	f	39	\N	\N	\N	\\x802c6973c8968a3de6421179b806bff7863acdffa97705a7faed93ce416503a7
360	3	4	10	key/037	2	f	40	\N	\N	\N	\\x50c7c4393a0f03ecfa9f91e652cb71425374b3d7a8efd537d49f09465609ab2f
361	3	4	10	key/038	2	f	41	\N	\N	\N	\\x2384ab83078960eba2f1ac0977e9cf1184c2763af7a0d0817562907201f17b9c
362	3	4	10	key/039	2	f	42	\N	\N	\N	\\xcf88be72435ef51284ddab7ae4b2f7e5f21fe94945e8d15d2f14f536a577692a
363	3	4	10	key/040	2	f	43	\N	\N	\N	\\x57509a34c1ab4884a2f975fd0c6b2142e5d0ce134ea50b1f5ad4732eb560a44f
364	3	4	10	key/041	2	f	44	\N	\N	\N	\\x72fdc5ee109729e6b1db9ade214ed185c53d1c89ef6d8e8053b7959bc6039374
365	3	4	10	key/042	2	f	45	\N	\N	\N	\\xd0e3ddb8222a0b4a2e1bdecba9aa8f4fb61e47a4c5425b0a59a851e0cbb63425
366	3	4	10	key/043	2	f	46	\N	\N	\N	\\x8eb5da785e2539efd2db3c14b929472ec1351569d4491388d566ce6a79cd48a3
367	3	4	10	key/044	2	f	47	\N	\N	\N	\\x50be63e4e47e3b2fd50dfe63e1733b548c499588d0e0b65f178110d3db47a306
368	3	4	10	key/045	2	f	48	\N	\N	\N	\\x54e40ba6f52f7d0688d6004d736f9efc3bff7a09f44125034a400c38946c4f5a
369	3	4	10	key/046	2	f	49	\N	\N	\N	\\xe023a0b789a782d913ad0354c595761ff00f2bc28c55d711c2a502dccf62543d
370	3	4	10	key/047	2	f	50	\N	\N	\N	\\x80ec222fdf99f8bab0c394ae67c58bf8db70d3001c8f999ea9e9337752587b9b
371	3	4	10	key/048	2	f	51	\N	\N	\N	\\xd2c0e48b9250703938b1b21e8f2ce69db9c14708bb7133729eb441a662fe69cd
372	3	4	10	key/049	2	f	52	\N	\N	\N	\\xd172d057ef3bcf5347315904ba76f34e68f9d5d04288d1e820c589eb240362e2
373	3	4	10	key/050	2	f	53	\N	\N	\N	\\x1e2a3f3cd72a64f1a5731d8121f1011dd13b91134b5adfa1f3aab44424d033b6
374	3	4	10	key/051	2	f	54	\N	\N	\N	\\x6292290273a42bbf57ad8234ed9a7e8b71f168a15c4fb0fa7869532286edf779
375	3	4	10	key/052	2	f	55	\N	\N	\N	\\x80fb23b0335fbd7fc6970aed3f0211a0cdee1e425675e516f330e832d6bc4761
376	3	4	10	key/053	2	f	56	\N	\N	\N	\\x94d06b679790543730a8450f5554540dc68afbed22a7978f5194ce9bb64c3612
377	3	4	10	key/054	2	f	57	\N	\N	\N	\\x321d3875366479f181cb2f56f31e62a54851e47b980a2c36a40e909cd32c2e68
378	3	4	10	key/055	2	f	58	\N	\N	\N	\\x70d87f93833cecb4e8069cb9ccdc319fcffa450e5c5d685352ddee97a22c4625
379	3	4	10	key/056	2	f	59	\N	\N	\N	\\xe1ee33fd66a4061225dd3fbd87c5f056072ec5ec5221bb55aa89fa51c85138a8
380	3	4	10	key/057	2	f	60	\N	\N	\N	\\xa97d9851ed2a16f3cf80d0695a84ea12e6658a02c525c2f4b1de6f8e045bcb34
381	3	4	10	key/058	2	f	61	\N	\N	\N	\\x6ab02cef7a6d7e5e18760a605eaf2fe0ea0fc1e772b1d45598f0303b36b67e30
382	3	4	10	key/059	2	f	62	\N	\N	\N	\\x080d96695cd230806cd3f7c4a0290901500aa932a800b8b13146cf1ece3da7f4
383	3	4	10	key/060	2	f	63	\N	\N	\N	\\xd9378b355a164eea6a566ee06835e8fdab1e73193e409a68d3753a4b93c3a1c4
384	3	4	10	key/061	2	f	64	\N	\N	\N	\\xdc219e8037d60c2d00907d41b1f5da9ee5fd400e7aa96c818b18978e381504f6
385	3	4	10	key/062	2	f	65	\N	\N	\N	\\x43a668f5d375f75dd7beb85a608224daf4db089348b00f54e87bfe81785c159f
386	3	4	10	key/063	2	f	66	\N	\N	\N	\\xe37611771cce0deb5bf4d8ce80f74bb0bd3c106bd0ab57d5f01578af8e5cdc44
387	3	4	10	key/064	2	f	67	\N	\N	\N	\\x45782ae30f50e3035bdc19e673355a690b8aebcdf9fb936946b31347ed1f4313
388	3	4	10	key/065	2	f	68	\N	\N	\N	\\x5d96e02f59a14944870bfe90ad3c53fdd317818a328dc7efce0bea42d1e9d103
389	3	4	10	key/066	2	f	69	\N	\N	\N	\\xf6ccf26d599deb823010711fe533c66fbfccf6b92f98c1ade11561cd53883080
390	3	4	10	key/067	2	f	70	\N	\N	\N	\\x7c0cb9a9585b48b1aa34eec8f2bd9b88fdb13e48ee931dae679af4dfeb95a853
391	3	4	10	key/068	2	f	71	\N	\N	\N	\\xc047faf014a409f83d41a7a10c802f2d5952e5909a909c1c946e34a95fc78a38
392	3	4	10	key/069	2	f	72	\N	\N	\N	\\xa546e5547abb2c58e76e75da34cf98bf9d7ea777e1c733cbd299c80cf127c1c9
393	3	4	10	key/070	2	f	73	\N	\N	\N	\\xf13221ddece925fa8679303ab9122863f0398c76df8496da7d047fb655c9abed
394	3	4	10	key/071	2	f	74	\N	\N	\N	\\xf00451a0b3e2b1255bf23c07f924bc005d44e1116d15ad651f8ed05239d558eb
395	3	4	10	key/072	2	f	75	\N	\N	\N	\\x93d513a2816e4f24a5599813a6134c5365851975503b30d2067661e34f7d6065
396	3	4	10	key/073	2	f	76	\N	\N	\N	\\x936ea76bc28e001aa64188beff2013e5b6035009b4526bc1f41561fa187680c0
397	3	4	10	key/074	2	f	77	\N	\N	\N	\\x05aedcf832f64b595ba2a1f433d8abe71b3f2db9200fb43901f15ae252677426
398	3	4	10	key/075	2	f	78	\N	\N	\N	\\x69f710caa66ed9a92227d0737d4e76e08ace540098bb40b0b7b10b079da522da
399	3	4	10	key/076	2	f	79	\N	\N	\N	\\x88a049f5cd2587fa0afb33ff5f8717d9bf4d159bd0efcdf0ec0652ca3890cd3b
400	3	4	10	key/077	2	f	80	\N	\N	\N	\\xd29dd8e2d54e2ee51f8db4e6622b8be1cb43bc474602df49bd0031b09221d20b
401	3	4	10	key/078	2	f	81	\N	\N	\N	\\x25a7becfaa94dc3bf1a757a1e8b9c8615404e655f39d4664ae47b7aa5dd2555f
402	3	4	10	key/079	2	f	82	\N	\N	\N	\\x8123528936484d57a5650ddd806649efb5350c7d3496b3c9eca7cd8dd28282ef
403	3	4	10	key/080	2	f	83	\N	\N	\N	\\x7751bb6f16f805172aac8c5665c36f9157f7aa84fc9d5b5bd8f38def9101b179
404	3	4	10	key/081	2	f	84	\N	\N	\N	\\x9dfd8986a9de473920c0c845fe95b727b7da53af1a6c93c65c99c49e78166852
405	3	4	10	key/082	2	f	85	\N	\N	\N	\\x9fdb840127d6692c539e6d2f95bb1065fc4de8e45db4cc9618652993feaf22aa
406	3	4	10	key/083	2	f	86	\N	\N	\N	\\xba91f5e5f656df0f198b856be04520f1d0b5dbfc605c353e804a3a3564b0e0af
407	3	4	10	key/084	2	f	87	\N	\N	\N	\\xb0a9866532a6d7c9b943ccfc652cf17de6e19067e21211bbe9accf9e461ace13
408	3	4	10	key/085	2	f	88	\N	\N	\N	\\x9057f57f783d0d0bd1e7eef57afbfb56a5b96a8c5956daebb3764b67c7ef0a76
409	3	4	10	key/086	2	f	89	\N	\N	\N	\\x77ca552711f613ca4c3e8ae6eebb3286bc849e8367ada4180d880f5e8f6dec42
410	3	4	10	key/087	2	f	90	\N	\N	\N	\\x95d1cef5673352eb6c4bb2e5e2d6bb4f54b7ccc3ab810d58af9b6376d942b1bc
411	3	4	10	key/088	2	f	91	\N	\N	\N	\\xbbf6e4c08d2f5b7f6bad99d70a57a81fad66866f2ab856b92e6780c1ec2bc95a
412	3	4	10	key/089	2	f	92	\N	\N	\N	\\x3f226e3cc0cea7c54f96bb31fcb712014027aa5de5e9b138fa96ea50ff50903d
413	3	4	10	key/090	2	f	93	\N	\N	\N	\\x693828b2b410b1e31b7f553304e75ddb05afd42823d268e1062482cc9da1b2b5
414	3	4	10	key/091	2	f	94	\N	\N	\N	\\x6bf3f36d9e01c9304afb7dcdeeb75af632f9b83737212498279638dfadd6dc07
415	3	4	10	key/092	2	f	95	\N	\N	\N	\\x1ab941925446b92d85fce101e65d06c9f2dbc6a92d8e33f65945d0704d374ada
416	3	4	10	key/093	2	f	96	\N	\N	\N	\\xdf70e11f9146b91b57cee29a3517cbb8dbcbe42826cb2869c71ab14e890b2dac
417	3	4	10	key/094	2	f	97	\N	\N	\N	\\x1d2d5d833619af5c6c2549eb0a7c6bf52cf6df6e75bb696f86dbb1a19340457c
418	3	4	10	key/095	2	f	98	\N	\N	\N	\\x0b46aebe3c51cf93a2848e76ca0bd124e89da89dc306b599c10879d08fe13b2c
419	3	4	10	key/096	2	f	99	\N	\N	\N	\\xb7366382a34969fc3f777054cfa897872749f4f8bddf07bc914f7a7a779d0a7a
420	3	4	10	key/097	2	f	100	\N	\N	\N	\\x5a6205692183845be77f62573d80fdc2abb6a5189b56820c5f5323be4ed16f6d
421	3	4	10	key/098	2	f	101	\N	\N	\N	\\xf4cb524c779921e5e4714bc2196c7b7d62ad5bc283d0165f6786e2a4052c3f35
422	3	4	10	key/099	2	f	102	\N	\N	\N	\\xab3123d25d85db4551937926e6a46ee95bbe7a1c2a51e9460780499f9720414b
423	3	5	11	key/000	2	f	4	\N	\N	\N	\\x2f43a1828fbebc6fdc39b8317c1580128dfb98f9b67600ae13a594796bd4344d
424	3	5	11	key/001	2	f	5	\N	\N	\N	\\xff273904e3b5beb995c0f4198a1a88ac6db8ca2862544af02d3ee71f182b3c41
425	3	5	11	key/002	2	f	6	\N	\N	\N	\\xc1fb48ac25a8fddebdb10a30f93e083f27281569d89abb8464fdd351a6d2d277
426	3	5	11	key/003	2	f	7	\N	\N	\N	\\xf0692fa64c667580a6ee69c9614e55698917266699bf5f988a97e3f0495dfd4e
427	3	5	11	key/004	2	f	8	\N	\N	\N	\\x4ee570846a044411d3a17da5c48c828e679e3003ecffb407289a8e31a91e4fc0
428	3	5	11	key/005	2	f	9	\N	\N	\N	\\xd90f661f2f86d08f31f24c76ea03558366ed123be368b65879c9f6b41b514f06
429	3	5	11	key/006	2	f	10	\N	\N	\N	\\xe6d5caa86750672df3f137925de38b59218d3ecba28b8b89c5c0038ee317863a
430	3	5	11	key/007	2	f	11	\N	\N	\N	\\xf199bb2e38214523ac3085af91165913f8a76a3bdbb9a92c76a56a22e54bb4cd
431	3	5	11	key/008	2	f	12	\N	\N	\N	\\x060a778ef2a6584538728c40fe9fad8ac053129e60861f723104613a74bfc1e5
432	3	5	11	key/009	2	f	13	\N	\N	\N	\\x38670252eb5aef74dbbd2a2e9d582a06b1f2ffc12b609ec8f1b4dbe3ff950686
433	3	5	11	key/010	2	f	14	\N	\N	\N	\\x872bdbb7b9f6748982603daf3da0943a065648a5a8d16132157078883bab61ca
434	3	5	11	key/011	2	f	15	\N	\N	\N	\\xd8beacaec155db77c758f2703b8312b36e3c0cb0f91fb43746d14359693bb2bb
435	3	5	11	key/012	2	f	16	\N	\N	\N	\\xb7babd7ee00386c588ae1ce584494106f746765adebe189ae5be33986bbbcc9c
436	3	5	11	key/013	2	f	17	\N	\N	\N	\\x110da4f739a93068c1567f1d8968f00c226d72197641c9f1cfc6a095529e712a
437	3	5	11	key/014	2	f	18	\N	\N	\N	\\xd1fb9d546bd4d45cb3d9261d958c0f8182904d9e85fbfc14e2c472e6d34f80d9
438	3	5	11	key/015	2	f	19	\N	\N	\N	\\xe3fa345db2a8337561634ac042c57938488d1eca7065a5130f3bcd6aa8f108e9
439	3	5	11	key/016	2	f	20	\N	\N	\N	\\x5e7f78db1d3b35c23b68c78cc50f034d972d8818863767b16018c40776b22727
440	3	5	11	key/017	2	f	21	\N	\N	\N	\\x164812cae9cdf75332aef0df1e7be36d003d6371fd4d536d53381b8e8d61aa79
441	3	5	11	key/018	2	f	22	\N	\N	\N	\\x1afb4004a958faf08161d50585230927d4625971956e21180285e5c6423693fb
442	3	5	11	key/019	2	f	23	\N	\N	\N	\\x0c4b99ab6703ea0fbc3be606d93d69ee18501151f5256730c842b036e967e501
443	3	5	11	key/020	2	f	24	\N	\N	\N	\\xd50476fa3e69cbeee8d1d20b4e1d5f757ed1ad31ab2ff9fd841cc3225d2973ea
444	3	5	11	key/021	2	f	25	\N	\N	\N	\\x48978a30120c0e748eea8f940d9f8701e02fe65f2303bc9c5b9ebb45dcc4ab89
445	3	5	11	key/022	2	f	26	\N	\N	\N	\\xd72508d4ea2a56fe6ef21ba47102583101b33a5b2dc90e60169f5d169799ddca
446	3	5	11	key/023	2	f	27	\N	\N	\N	\\xb0ea0eaa56127a22850ac20d87fb7c23d4f19c07dd2aeebb01fb4d41e84cb952
447	3	5	11	key/024	2	f	28	\N	\N	\N	\\x702aaeedd9434c4516e8ccb64e18cb38626536d9415301f7bce2adf418902ee5
448	3	5	11	key/025	2	f	29	\N	\N	\N	\\x1043776d1d43995d749d1f23d97d84848008d827d6338c848607f0e70c6d862e
449	3	5	11	key/026	2	f	30	\N	\N	\N	\\xcde607da9803899a90fe0e1e4341aae367362c3e53ba87e392c3d1c4e31f1072
450	3	5	11	key/027	2	f	31	\N	\N	\N	\\x33499a4524403196499c830c331ed71c31ee8d51fca2f7ecce0705249ebc3fd6
451	3	5	11	key/028	2	f	32	\N	\N	\N	\\xfe022b56044bfff807caf3b78fd0b91a840eaba22b76a139ad8adecb4f72090d
452	3	5	11	key/029	2	f	33	\N	\N	\N	\\x3087754497f85030deb76b112cd0ec871a20f22a1b6e25356d3fa6f6aca3c5f2
453	3	5	11	key/030	2	f	34	\N	\N	\N	\\xaefba6456cc7acbfcee8eab412b1835c8865fd1ea726c159767cad96b44ec3e5
454	3	5	11	key/031	2	f	35	\N	\N	\N	\\x0c0e16f4c613ab1e97fffa470a9fdb49feccb3fca8968192e6fbd32ecc12b376
455	3	5	11	key/032	2	f	36	\N	\N	\N	\\x42669c6d32fa348f56276b3045ef11228a7ec1e1df90420729451411455b61ef
456	3	5	11	key/033	2	f	37	\N	\N	\N	\\x6fd601466b8e1bbce8b75c058ec0c8ce311a4f5f4819bf1b9e9d6ace7f2edfeb
457	3	5	11	key/034	2	f	38	\N	\N	\N	\\x3ae4126d758a9be3f7b40f5e7b058d568b8afab0ee7cfebd9bd56d6017aaa727
458	3	5	11	key/035	2	f	39	\N	\N	\N	\\xb1220dc12e3bb4beb9b78560f220271b1a4b9a7cb398abfb81f379941c5b0cdd
459	3	5	11	key/036	2	f	40	\N	\N	\N	\\x85f988b5239aa64ce6fa22b2929aa2150fb78ce714d2ef33ab8186f97ecd08aa
460	3	5	11	key/037	2	f	41	\N	\N	\N	\\xe21008abf6f801d887d957085c29cda79e5fec187cb9b5a51e978b53274f87a9
461	3	5	11	key/038	2	f	42	\N	\N	\N	\\x923baa399110db955bd4071147c59c133c21c707d77adbad2434baff9c4f585d
462	3	5	11	key/039	2	f	43	\N	\N	\N	\\x502bb24591fda14ac462795446c9e4a072a9c3a96d788f1f72aa8e02845d504b
463	3	5	11	key/040	2	f	44	\N	\N	\N	\\xee20de2c6ce5c171ff43fe87e1483ffda49fce972d8633cff4aa3e271fbf3626
464	3	5	11	key/041	2	f	45	\N	\N	\N	\\xf53c175cebe794857ac8f3f6b6534ea3a559f76c118340207b7da4e3d543cbdc
465	3	5	11	key/042	2	f	46	\N	\N	\N	\\x67da2ac63cb619484ed4a9fbd2afb63e99c3375bc1f6bf09bfd9f401ed248c2d
466	3	5	11	key/043	2	f	47	\N	\N	\N	\\xff215a664af366ecab375f3b645e3597c6e87e8719d2a63a8e993bbee66dbf9b
467	3	5	11	key/044	2	f	48	\N	\N	\N	\\x2358c43b8012302a658d23f2dd1031e9bba5bf080a4e3146aa04bfc5e355d42c
468	3	5	11	key/045	2	f	49	\N	\N	\N	\\x9752e214bd9f6e223c8248d1116f087fabca0b325d880276805fe176e82092e5
469	3	5	11	key/046	2	f	50	\N	\N	\N	\\x0a6acaf663dd9f0337242dc5e21eb98e1a3de3db386364cd47793fab070431f8
470	3	5	11	key/047	2	f	51	\N	\N	\N	\\xfba40b6174cd729b2c2aa5a8507c82af96d466b07004b31af644cff23586b823
471	3	5	11	key/048	2	f	52	\N	\N	\N	\\xe8ffe289a5c0944ba7eab6d6dd73215a1a263a15f8ec9b9cf8e2d3c06b37ebff
472	3	5	11	key/049	2	f	53	\N	\N	\N	\\xac1192925d4968dffc3bd127e64e5244e1ecfd356bfc1da9d4c323446a0f633a
473	3	5	11	key/050	2	f	54	\N	\N	\N	\\xf69c2dd9bfd6feea69cd599d0102a1ccc4c4a9009fdbfec7b1304d09a4879a98
474	3	5	11	key/051	2	f	55	\N	\N	\N	\\x19233a17efdc4ad01d4d1c9203a81007870a2f3208464758ecaeca4ea1d4d7fe
475	3	5	11	key/052	2	f	56	\N	\N	\N	\\x0be28780f1e7f8942991d557e62d6135ebcdfdc6ae97090484608a2fb2d80221
476	3	5	11	key/053	2	f	57	\N	\N	\N	\\xba63cd664a4381f93e4173567fbfb6b5290709f811a7258cfb2ccd290654aaaf
477	3	5	11	key/054	2	f	58	\N	\N	\N	\\x424ed626a099723abd02219c3a3ca0f2903ae9e3d4058f12da40099d3ea3ee5a
478	3	5	11	key/055	2	f	59	\N	\N	\N	\\x57cc0d0967370a458b7f4a0396e2b740c6e949ef77ba2bcef9fc2d0215b6aad9
479	3	5	11	key/056	2	f	60	\N	\N	\N	\\x4fdb6776acb82fbbaa23cf5a35b8291201b56cbafa5f23c29e51591ce2187012
480	3	5	11	key/057	2	f	61	\N	\N	\N	\\x9b1870e0e6f91381ac403c2c5021e7c43bfccbfdf12a83ce0b42b5139ead1de3
481	3	5	11	key/058	2	f	62	\N	\N	\N	\\x4854932be9bc6d070c3e1f541ae35ebb798dec25637fff48b7f72dfebd11ea6b
482	3	5	11	key/059	2	f	63	\N	\N	\N	\\x1c5453e91add47b934211c594e775e5cc8365a059d98b56fcba1114081ba59ba
483	3	5	11	key/060	2	f	64	\N	\N	\N	\\xa613a9d1fd08c558d1e8a9eee4a35c2ee7d66d82929938bdd4bf0b653f0aef7f
484	3	5	11	key/061	2	f	65	\N	\N	\N	\\x69f3133d71e6d1f21d9b9cb58efb21b8cafd1038c4a172c571c3ec33b80a17c1
485	3	5	11	key/062	2	f	66	\N	\N	\N	\\x482019de36f9f4f43ffd73fb2a826c8c6835c3bfdb9e0e5d6aa93bfba0e4fa33
486	3	5	11	key/063	2	f	67	\N	\N	\N	\\xda4d27befac4c2d1cf8285bf358246d3012d56739f7ad46acb0f60ee0fae10bc
487	3	5	11	key/064	2	f	68	\N	\N	\N	\\xb0ce7cd6bf51a94b4dd2670d1fcd65295285ecc2609759a6cf3e43b6f45feef4
488	3	5	11	key/065	2	f	69	\N	\N	\N	\\xd8d5d28cbbdf007acdfd34e4e5ada39501b5477c8c33922942938534fb602c28
489	3	5	11	key/066	2	f	70	\N	\N	\N	\\x6b2840d211016d430331fb5f225086d287a25d87c73517370add0c75db62dd82
490	3	5	11	key/067	2	f	71	\N	\N	\N	\\xdabe6bfedfe88941acb25f87454af9fd81aa784d0bb98257f221e94b1668decb
491	3	5	11	key/068	2	f	72	\N	\N	\N	\\x2181353eb0e3c2d6adfbdfcde3a266ceffec19de909d0c6f39db15148cbe0d81
492	3	5	11	key/069	2	f	73	\N	\N	\N	\\x68fdbb5ec3ec93daa1f9e1e8530d121b63bc366422aeb2e013ef876685849cf1
493	3	5	11	key/070	2	f	74	\N	\N	\N	\\x401e7cfdc585f4679f97f1b44f6d180d4752869d7af61e3d0b4ab2838ea93470
494	3	5	11	key/071	2	f	75	\N	\N	\N	\\x312f11631de31894db18fd42c5f50342a17c17668a14565dd530cf21c03df8a9
495	3	5	11	key/072	2	f	76	\N	\N	\N	\\x12749e75458b6cc7431849791ed6c571a86db88464228e64898b4bc2f8bf2b22
496	3	5	11	key/073	2	f	77	\N	\N	\N	\\xd385f7bf7c55b5fa805302bdebbca151ae3b6295139b7872bbd1a59cd1b1dde9
497	3	5	11	key/074	2	f	78	\N	\N	\N	\\xaff28739efc108ff4e5d110466edc16917f444d9a74065c2e78634c405dc10c2
498	3	5	11	key/075	2	f	79	\N	\N	\N	\\xf20b6723bc1a936a562199ead8735cd1aa2e7077257e893841f8a0d4f07afa0b
499	3	5	11	key/076	2	f	80	\N	\N	\N	\\xb3b977d0ff017168edc0992186eb1e67e6cc93825032d854f5c69da5fe91cf61
500	3	5	11	key/077	2	f	81	\N	\N	\N	\\xc293cd33bc203f74e4742e785d9362858f76f6338a37a41dee542c5fcc9e7f63
501	3	5	11	key/078	2	f	82	\N	\N	\N	\\xf06431c4560a4dc56fddf0ea5943e42b458a9b76b8cbed84531b1945dfcc5c3f
502	3	5	11	key/079	2	f	83	\N	\N	\N	\\x91aff0e1e7bc43ca15fff854f0c99a000c90dfb2ea8e62bca81a9981f2497b70
503	3	5	11	key/080	2	f	84	\N	\N	\N	\\x4335b7de800fc8acd7dc6f0269053d961005b0a50e45442f60867aa1ae5e912e
504	3	5	11	key/081	2	f	85	\N	\N	\N	\\xb9451fd3135f145a0039d73796b0e2c5886ce61594f887c39e88d0146311038c
505	3	5	11	key/082	2	f	86	\N	\N	\N	\\xd54b89925768bf4eaad3c4e5952742656b868bb939a8060aefa04ac4d20a0fc8
506	3	5	11	key/083	2	f	87	\N	\N	\N	\\x09ab5dc068efcafcdab3a5407e346b46ed257e38114bad715e25761a6f35b5cb
507	3	5	11	key/084	2	f	88	\N	\N	\N	\\x82b4a54fd938775371e7ca6c964967b0af6fa543ed259de0b3ce5d69a9e52b4f
508	3	5	11	key/085	2	f	89	\N	\N	\N	\\xc1a5354c2f91ada3c501400abc740bcc40659fd11eb4af82fc3f87ed3689cffd
509	3	5	11	key/086	2	f	90	\N	\N	\N	\\x1c19fa42a5eec59a65963200d93807b464f08581bd977a9902537633549cc113
510	3	5	11	key/087	2	f	91	\N	\N	\N	\\x0ea760445200e8a51235cda63e6a3b97aff4d2b45ebfe789c10182babd98dea1
511	3	5	11	key/088	2	f	92	\N	\N	\N	\\x83892ad6efa7204500c5e997ac0784ca75b5d172cff8ddbde9642c8567274847
512	3	5	11	key/089	2	f	93	\N	\N	\N	\\xb2d9aee5015b1fe23fdc111ada5c06070631d236437a25b6858fa627c4511f7e
513	3	5	11	key/090	2	f	94	\N	\N	\N	\\x7c7829737d03b07cc4bddbb4ab3b1aadebcd81da3a7465c8bfc984ffaa0b1cf3
514	3	5	11	key/091	2	f	95	\N	\N	\N	\\x7d4b42eeec7b6f8c8fcc20eae09e0b371bb61a1144559de85d65cd1b6686240f
515	3	5	11	key/092	2	f	96	\N	\N	\N	\\x2ca426f2d5f5402d5b2323e9c6704f4c0aa24b9e1bab178041954ffbc6c8999d
516	3	5	11	key/093	2	f	97	\N	\N	\N	\\x7beb96bc0cfc078fb93980d550ee219d8dd5ae676b7bcd6226df1f3c4197e110
517	3	5	11	key/094	2	f	98	\N	\N	\N	\\xa9705e234add69f04f588495cac56246a7fff0134c561c84a4952de59d4c4830
518	3	5	11	key/095	2	f	99	\N	\N	\N	\\x9c8d35455ce35a942a9e1429e800062af1b94ff5e1ceebfdd198138ccf66e4df
519	3	5	11	key/096	2	f	100	\N	\N	\N	\\x28e54519c946ed4cc8889ed9b4923b86e28f41b8403d78f460307bf63d7e75a4
520	3	5	11	key/097	2	f	101	\N	\N	\N	\\xe19ec07c489b947e3840cdb08063cb10eb718f8dfcece278134ba62eac00d56a
521	3	5	11	key/098	2	f	102	\N	\N	\N	\\x9437fcbd390444be33cfda21579c058f90ae6209a843e6e1ec37a1cf9e898738
522	3	5	11	key/099	2	f	103	\N	\N	\N	\\xa3c063a1c7b5bc31fe9e17ef3ceff5cc96b217301c2b55d57bc983d612b748de
523	3	6	12	key/000	2	f	5	\N	\N	\N	\\x98ed4c172578108c67ffef19919d49faa92cfaf8b373dd60551fe141333a86c5
524	3	6	12	key/001	2	f	6	\N	\N	\N	\\xe5b86f6803bfc7b61d8ef7e4a13afa1c84a4f3a328ca6548cd66b98952b35377
525	3	6	12	key/002	2	f	7	\N	\N	\N	\\xda2ac9c331acdbdb8722bf04958cde1b13c76c98696ba608196aecd5d65f187c
526	3	6	12	key/003	2	f	8	\N	\N	\N	\\xce92e1ce9d3b5246656370f3ebd12872c9a01e9e66a54dfb614437cba736a149
527	3	6	12	key/004	2	f	9	\N	\N	\N	\\xab830b863d4ccbb9fd345d2f5527f71cb89eba38fce658328444d2aa61ededa0
528	3	6	12	key/005	2	f	10	\N	\N	\N	\\xe4a37a604c93127a631f055c55bf477f4fac0008ade3b559cdff9d19929a8120
529	3	6	12	key/006	2	f	11	\N	\N	\N	\\x24f4977e30cc46c14c985d22b8a007ecc98f608f7785da6185c6a1aa88e9ed87
530	3	6	12	key/007	2	f	12	\N	\N	\N	\\x16de9e0365dfcfe9ae68c2589a33fcf9c0a47288d92905086236a34f1a02f55f
531	3	6	12	key/008	2	f	13	\N	\N	\N	\\xae5c2feaf378d0c5f210119c273bb539443b9bd8a7e217f4bd8df4b85a0d9e7d
532	3	6	12	key/009	2	f	14	\N	\N	\N	\\x0138c3f025274a39b5e8d2bbef87a9c5e4a5d8911fc8dc8db3f2af7204b6afe7
533	3	6	12	key/010	2	f	15	\N	\N	\N	\\xa6cb0a9f9979969b554143be73415dfd0db56b7e10e80730e531fa9db906ecd0
534	3	6	12	key/011	2	f	16	\N	\N	\N	\\x85d4dc88449c9716702049761ba5b82f15f6e04a8d6307603c3d20658b5f923b
535	3	6	12	key/012	2	f	17	\N	\N	\N	\\x053e8db0b57184afac095c94fb1ace07767160c0dd6fd3021d83844d7eaf9411
536	3	6	12	key/013	2	f	18	\N	\N	\N	\\x06f43a35ec7cf004cb35f9d6b4dfc07f79d96ceee0e47ffe185f5ef10551598a
537	3	6	12	key/014	2	f	19	\N	\N	\N	\\x6f15b64c3dd6d10fdc139fc173e722302c0c74234b77895b4df0d556bca2c89b
538	3	6	12	key/015	2	f	20	\N	\N	\N	\\xaa494ded722d92e357fdfd599edcf27842dd5689550ead9acd72c25baf6b64c9
539	3	6	12	key/016	2	f	21	\N	\N	\N	\\x1c995ccae87aa8be432be7ff8f26a0e5c3aac885f7e0982dcb1fe8d05db5b22f
540	3	6	12	key/017	2	f	22	\N	\N	\N	\\xfcea90d14a62a60e93e9cd3daec9cbc56b269ae443d38aaba6a6fa02e1acbd8b
541	3	6	12	key/018	2	f	23	\N	\N	\N	\\x424415b5cc4ac72ff123c4d65b2792a8c6360e75de3bd53fa57dda0848b645be
542	3	6	12	key/019	2	f	24	\N	\N	\N	\\xcbdb50f7cd78a0dd508277f8459402f4f1a6ab19cbaa6c612f75ddf3516f7230
543	3	6	12	key/020	2	f	25	\N	\N	\N	\\x9f4351769f6403445b39cb1b0545b9dc1d78018a6eedcc1e4d00cac68c0c3791
544	3	6	12	key/021	2	f	26	\N	\N	\N	\\x85af430c7059f184ccfa18d2c8adc15deaa8dc82f2852a01550becfec7c6ddf0
545	3	6	12	key/022	2	f	27	\N	\N	\N	\\x00dffbc3f841f22cf05ebf45502183892c4d9005551df6b3480a28e6db43b81b
546	3	6	12	key/023	2	f	28	\N	\N	\N	\\x7a759abfbca10727dc6844c0f1babfafa1051a4abd454603dbd7db4ea7d9879b
547	3	6	12	key/024	2	f	29	\N	\N	\N	\\xfb9a245ddc56478c9aa7c539bab00c70831ca0391b53ee5eb0f0afa9b9e5438e
548	3	6	12	key/025	2	f	30	\N	\N	\N	\\x6fb1292e3e878c04baf61c50570c3dd133a13b661c4c985c0e1a1cb1f2cddd25
549	3	6	12	key/026	2	f	31	\N	\N	\N	\\x370c4ae2a5853cfe3acba99f915b9f391a0229b5f3dc33e71064cbf929f7f695
550	3	6	12	key/027	2	f	32	\N	\N	\N	\\x4b8c667fb4db2638d4798e1f1f268856c20c5039189bfc4a007b69de1f137329
551	3	6	12	key/028	2	f	33	\N	\N	\N	\\x54ca9fdc4d43484e79ece830aecdef053398b0a014a5184ed2e5cfe79c5512c9
552	3	6	12	key/029	2	f	34	\N	\N	\N	\\x0a33b0a09a6167e5c315c334ce105915e6dc5f61f5ca1236d694e2aa7fa2bc26
553	3	6	12	key/030	2	f	35	\N	\N	\N	\\xa57796795b2d4fc753c233a4a0e3c14d740f3ff06871aa62448b1290669843fb
554	3	6	12	key/031	2	f	36	\N	\N	\N	\\x91abd7147d4cf030d9040383555af5baafc4fd00313128af47f34fc78e383094
555	3	6	12	key/032	2	f	37	\N	\N	\N	\\xd03c9c954ed9cc94368fe3332bf189aa07438c6665b138a27bf4cd5c9bd86a19
556	3	6	12	key/033	2	f	38	\N	\N	\N	\\xeda48dc455a973749175a7c5f40d94980bfa2950e117050f3c1a4e2d7f6443fb
557	3	6	12	key/034	2	f	39	\N	\N	\N	\\xc874ac3c904a9d7e949cf18c85e133a90810e1c25662ba578295b751bc18e20c
558	3	6	12	key/035	2	f	40	\N	\N	\N	\\x287f428bc7e8f909a992872b08a5e16a88577b872cce128cd49e9deded4a43b2
559	3	6	12	key/036	2	f	41	\N	\N	\N	\\x3b5c2d574323510072621856d9b40a2e28213652270da802b0d25e74df2b776a
560	3	6	12	key/037	2	f	42	\N	\N	\N	\\x74846109d12d934f9fa7eb5694eb288ec066308cabbbf0c1c3b728e163303267
561	3	6	12	key/038	2	f	43	\N	\N	\N	\\x34ab0043b5afe2026c8cec53f6b6367b20717c0244b7c3461e6866aa1525992f
562	3	6	12	key/039	2	f	44	\N	\N	\N	\\x36e754b233c0e68c1cb51c6de38be7c07862d9a559c45996f7a9a2d3c01618f6
563	3	6	12	key/040	2	f	45	\N	\N	\N	\\x3d6f588daa32d254139f7fc4213dde04407ad533408d9041376004b537d7ba78
564	3	6	12	key/041	2	f	46	\N	\N	\N	\\xe6d8499123ad001f7242c7e2cc04eac72bf925ca764b08b3cd51e9ad6a2be813
565	3	6	12	key/042	2	f	47	\N	\N	\N	\\x1b95667fd93866e5178a5cba261fbd8a775e45783b2cd164b292bd38da9d73c7
566	3	6	12	key/043	2	f	48	\N	\N	\N	\\x3fd3ec3485760078e1f2ccca8e5e68e2832b17fe43058bc91a81cf72725aa21a
567	3	6	12	key/044	2	f	49	\N	\N	\N	\\x2e8dc27cf508d1e476a4ab7e3b2c317d480dc27f5394aab5634b5057e95c0827
568	3	6	12	key/045	2	f	50	\N	\N	\N	\\xad6be05a2fad21e8973e89a0d5c0b1764bf8d87e33a3a90ea278a5fccccbb4a5
569	3	6	12	key/046	2	f	51	\N	\N	\N	\\x763f08b0192eaff49136f206182147ecc271a48bbae0b35cf94b37bd04f2b5a5
570	3	6	12	key/047	2	f	52	\N	\N	\N	\\xefa0ba61a7181c16520264164ed9f9795f090a1fac17acb6892328574861d5de
571	3	6	12	key/048	2	f	53	\N	\N	\N	\\xa01183eb371c889f894cbee9ceba2f5d515fb26a4fdd7b8b8681c2c49c212daa
572	3	6	12	key/049	2	f	54	\N	\N	\N	\\x0173d113d0f2de6ff71bf9eeca127c5e22351a57c43dba90c863604c88c90a6e
573	3	6	12	key/050	2	f	55	\N	\N	\N	\\x522c6000860d8eb1b778a5630909b8bc6e82a7e0e174bee26ce609f467175331
574	3	6	12	key/051	2	f	56	\N	\N	\N	\\xc8f35923c9ec18726052a61580e82fc00f07ad5a19093f86ed066738b9d2576b
575	3	6	12	key/052	2	f	57	\N	\N	\N	\\x8b83ea32d1e5a8bf3cf43bca156c8586d07f64b7d7abf41dae3d01b4ce6c6cf6
576	3	6	12	key/053	2	f	58	\N	\N	\N	\\xaea2f9c865807b672aff1a1a4e5145da9742f430678519dbb16e362c1437bd27
577	3	6	12	key/054	2	f	59	\N	\N	\N	\\x30f27033175ab203b53bfb70406b08bfe5e03df7cdad503617afbea73cbd89b9
578	3	6	12	key/055	2	f	60	\N	\N	\N	\\x06b757aaddd65035f2e04cb3e4f56c322b4b393ff26d365c4edc7e9c6aa43708
579	3	6	12	key/056	2	f	61	\N	\N	\N	\\x51388a4b3d954133e5dedad6a9246e19a25a152c31902daba56a618c65543c1d
580	3	6	12	key/057	2	f	62	\N	\N	\N	\\x7d2057da7c4fd8b7203038b96bebc03f69f1333460e5c22233fed600e06a485a
581	3	6	12	key/058	2	f	63	\N	\N	\N	\\x0e9c920864e44c6e4a121d3b3852f2cbae4036604dc7b4b62de05ecf34242647
582	3	6	12	key/059	2	f	64	\N	\N	\N	\\x49b487d0617a95ba8b6a67e1bfe7d653dc5134c86e68ea43ab27b86525d0ae3e
583	3	6	12	key/060	2	f	65	\N	\N	\N	\\x27d61332a0d5eb7c250d21154722d5692b116c305f32c62d490b0508dd39ca32
584	3	6	12	key/061	2	f	66	\N	\N	\N	\\x43b3b8d0b52e1ce333f3a90dab67021d8d6ad6c54ce019296a073f8996d516c4
585	3	6	12	key/062	2	f	67	\N	\N	\N	\\xcd3e23d3e0f3bef9c1f41914406f7f941b38bd50e1e10bb4efcf534cbdb88ee3
586	3	6	12	key/063	2	f	68	\N	\N	\N	\\x10dbbfdcac7f4334fd66e5e7809f3475e1b3f40db44d5bd79af2648117442499
587	3	6	12	key/064	2	f	69	\N	\N	\N	\\x1eedfb11341fc9f7430dee323d26e7063f22254cd1f70766583ee3f5071e485d
588	3	6	12	key/065	2	f	70	\N	\N	\N	\\xd5a5bb90269c3efc1ed510aff672b62d2f6e8720137ca49b50acd03fb48203f0
589	3	6	12	key/066	2	f	71	\N	\N	\N	\\x9ba2ea7666c1647581ea7d5014b17d955d347e0e78009d410069234e3c7db3ee
590	3	6	12	key/067	2	f	72	\N	\N	\N	\\x14e2a6dcd8cb6a4b9d73929f988881c8d0f5dce42e92a5376554ecb0cc6e5023
591	3	6	12	key/068	2	f	73	\N	\N	\N	\\x92dbc9ffb94cef7aba36d97034fb6261c3ed65cf124a488335c5b3c43934d771
592	3	6	12	key/069	2	f	74	\N	\N	\N	\\x4d3a7843f194bc5cd23f211e327016182651b624c098d76efcfa3d974ed79393
593	3	6	12	key/070	2	f	75	\N	\N	\N	\\x9a7c93138854cba3e2502c9492ce7dedff1c9664907742467c947a885c5e1094
594	3	6	12	key/071	2	f	76	\N	\N	\N	\\x99ccc93324e0c11494e30466f057e37b50eb738cf8615c55a8ee1810e74d25c6
595	3	6	12	key/072	2	f	77	\N	\N	\N	\\x4348ef27b490ee4fbe98f7743be3c3cfdec97a6c90d5b9dbf7e43df8be76ddf3
596	3	6	12	key/073	2	f	78	\N	\N	\N	\\x80ab58768cceb179099982dffb346f17eac9324ae2fb48ca9e772c1cb40d52ef
597	3	6	12	key/074	2	f	79	\N	\N	\N	\\xcb8c286eea6188a7cdddca61929caa70aeac0ee2ca798cb187021abe324263da
598	3	6	12	key/075	2	f	80	\N	\N	\N	\\x51e138860574931c74c6c9da0f3c6383ba82d60d06bc2f758973a1a718ed219e
599	3	6	12	key/076	2	f	81	\N	\N	\N	\\xc80b7cc34ad0e7ff361db47f0f6929dd5e59186bf2b722106cac4428da56d7b9
600	3	6	12	key/077	2	f	82	\N	\N	\N	\\x292b6991c98180f7ffddb6c208981b61be134c7773f70a11ff6a0be60c15861c
601	3	6	12	key/078	2	f	83	\N	\N	\N	\\x72bf68b9eb25581c1c833227e8b26818162e0eb01cfc9b28692fbc8afcee0f44
602	3	6	12	key/079	2	f	84	\N	\N	\N	\\x511f93b9661815fa2eaaecaedf8b6bed12e0904593b3ef11fc2cd5f993761aa9
603	3	6	12	key/080	2	f	85	\N	\N	\N	\\xfd3bd26dcbf402a6f858b9c786c7c7328b430f0dafe400c1264fe8fae9f6a226
604	3	6	12	key/081	2	f	86	\N	\N	\N	\\xd994d36b0a0e5b04d4d9fe185e1a955bd1576cb92c25dd95092b7800ff614171
605	3	6	12	key/082	2	f	87	\N	\N	\N	\\xaa4f1b408d8c4404c4bc40fa1801d039fbe35f5e5a708fb1f82e6a34ea20d8d1
606	3	6	12	key/083	2	f	88	\N	\N	\N	\\x4406b887a519aaea6f473a78f3f5a116a14a48d50fa2e01bb558e9c3fea4944a
607	3	6	12	key/084	2	f	89	\N	\N	\N	\\x33a78d90eefdd9c916071a4e0f33e8c85bf9d2447c7878ecd7ebcfc797a3bbf0
608	3	6	12	key/085	2	f	90	\N	\N	\N	\\x0125c12007171fd483259d2382b42f1fc5e4f44483001cf982fe87374a0e78db
609	3	6	12	key/086	2	f	91	\N	\N	\N	\\xd92a80f38df112d6b7843317b5fe098eefd24ead803375beb485f0231f263ac0
610	3	6	12	key/087	2	f	92	\N	\N	\N	\\xd6a2757730f8c780094bcc30ebbfc323f7f49fe56c6710547f8420200ef9abf1
611	3	6	12	key/088	2	f	93	\N	\N	\N	\\xecbf011e25e505df0dbe9e0073c80dd2abfa369744ee789c90d1325b5982544f
612	3	6	12	key/089	2	f	94	\N	\N	\N	\\xa7e741fc2ab0ca60010dff598d020c2aa6d9fd86d8c443c9fe6d731a6eec4c8b
613	3	6	12	key/090	2	f	95	\N	\N	\N	\\xc94edbb29d075da65da954f8c3a244e43a2640f600f2f1697e235cbf83963ed9
614	3	6	12	key/091	2	f	96	\N	\N	\N	\\xa1610931065a722bc4713a4d1757a4befdcb0e7dde16dd83ff08758dae032a01
615	3	6	12	key/092	2	f	97	\N	\N	\N	\\xb104149a4bc6e0476d455a5ae4688073af2fec584ca11626150140573a6ef9d9
616	3	6	12	key/093	2	f	98	\N	\N	\N	\\x5f677924a76b0bd93ddf95093f7312833214cb9e96a6152eb0731420ac33ebd9
617	3	6	12	key/094	2	f	99	\N	\N	\N	\\x704ad696b9918a7d9ef3d5166560d28d7052d2c43f1ad3da5e6155419a8ec639
618	3	6	12	key/095	2	f	100	\N	\N	\N	\\x3af4bbfa9b5329755c6e946513f2c1ba9180cb1b517cc2c30844d776d8457d3f
619	3	6	12	key/096	2	f	101	\N	\N	\N	\\x96726fd701cc1a216abc8911721aa12779a67f8098dca159da7965bf994be2d7
620	3	6	12	key/097	2	f	102	\N	\N	\N	\\x3b8fe9ced571279b8227b9efdc28fa266b3c1b46381585355e4ec73522fe54e9
621	3	6	12	key/098	2	f	103	\N	\N	\N	\\xc6a6a54e7465051982135eeb7834b07a36d9726ff182ddc9000b8d82f355ce1c
622	3	6	12	key/099	2	f	104	\N	\N	\N	\\xafc9cd67c04265ddf4b3aad84b792abccee65111693c1632ac12f837b20dfaa2
623	4	1	13	db/password	7	f	\N	\N	\N	\\xf54c530179f7bd84ac7c9ab9165e714ac78ba759ea704fe1534383cf276c8018d828c5a6e4c9a80afd7494822d46185f41b802df54a03fc61ffd1cda	\\x9c795a3c6e1ad96a8400f77d504c709cbb3034856128c804e4eda7200b5df6bb
624	4	2	14	db/password	7	f	\N	\N	\N	\\xf54c530179f7bd84ac7c9ab9e12476888b76d71732937e5fe6c4d24b2998cf2cdba2f214f8d2c2877f73d6b0910e063000a4506a2882e830c509a2b4f3a142a4b46d679178c8d6b4552e40a0397dfaf85c466eda87ff44c2cd3dd864	\\xe9a1edd1eafcfe65dec70640c89560b888bd994505ceb0ad2c72d116217315de
\.


--
-- Data for Name: config_value_association; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.config_value_association (config_id, config_value_id) FROM stdin;
9	223
9	224
9	225
9	226
9	227
9	228
9	229
9	230
9	231
9	232
9	233
9	234
9	235
9	236
9	237
9	238
9	239
9	240
9	241
9	242
9	243
9	244
9	245
9	246
9	247
9	248
9	249
9	250
9	251
9	252
9	253
9	254
9	255
9	256
9	257
9	258
9	259
9	260
9	261
9	262
9	263
9	264
9	265
9	266
9	267
9	268
9	269
9	270
9	271
9	272
9	273
9	274
9	275
9	276
9	277
9	278
9	279
9	280
9	281
9	282
9	283
9	284
9	285
9	286
9	287
9	288
9	289
9	290
9	291
9	292
9	293
9	294
9	295
9	296
9	297
9	298
9	299
9	300
9	301
9	302
9	303
9	304
9	305
9	306
9	307
9	308
9	309
9	310
9	311
9	312
9	313
9	314
9	315
9	316
9	317
9	318
9	319
9	320
9	321
9	322
12	523
12	524
12	525
12	526
12	527
12	528
12	529
12	530
12	531
12	532
12	533
12	534
12	535
12	536
12	537
12	538
12	539
12	540
12	541
12	542
12	543
12	544
12	545
12	546
12	547
12	548
12	549
12	550
12	551
12	552
12	553
12	554
12	555
12	556
12	557
12	558
12	559
12	560
12	561
12	562
12	563
12	564
12	565
12	566
12	567
12	568
12	569
12	570
12	571
12	572
12	573
12	574
12	575
12	576
12	577
12	578
12	579
12	580
12	581
12	582
12	583
12	584
12	585
12	586
12	587
12	588
12	589
12	590
12	591
12	592
12	593
12	594
12	595
12	596
12	597
12	598
12	599
12	600
12	601
12	602
12	603
12	604
12	605
12	606
12	607
12	608
12	609
12	610
12	611
12	612
12	613
12	614
12	615
12	616
12	617
12	618
12	619
12	620
12	621
12	622
\.


--
-- Data for Name: lamina_schema_version; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.lamina_schema_version (version_num) FROM stdin;
0004
\.


--
-- Name: config_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.config_id_seq', 14, true);


--
-- Name: config_name_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.config_name_id_seq', 4, true);


--
-- Name: config_secret_key_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.config_secret_key_id_seq', 1, true);


--
-- Name: config_value_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.config_value_id_seq', 624, true);


--
-- Name: lamina_schema_version lamina_schema_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.lamina_schema_version
    ADD CONSTRAINT lamina_schema_version_pkc PRIMARY KEY (version_num);


--
-- Name: config pk_config; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config
    ADD CONSTRAINT pk_config PRIMARY KEY (id);


--
-- Name: config_change_point pk_config_change_point; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_change_point
    ADD CONSTRAINT pk_config_change_point PRIMARY KEY (config_name_id, version, name);


--
-- Name: config_cut pk_config_cut; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_cut
    ADD CONSTRAINT pk_config_cut PRIMARY KEY (config_name_id, version);


--
-- Name: config_name pk_config_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_name
    ADD CONSTRAINT pk_config_name PRIMARY KEY (id);


--
-- Name: config_request pk_config_request; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_request
    ADD CONSTRAINT pk_config_request PRIMARY KEY (caller, request_id);


--
-- Name: config_secret_key pk_config_secret_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_secret_key
    ADD CONSTRAINT pk_config_secret_key PRIMARY KEY (id);


--
-- Name: config_value pk_config_value; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_value
    ADD CONSTRAINT pk_config_value PRIMARY KEY (id);


--
-- Name: config_value_association pk_config_value_association; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_value_association
    ADD CONSTRAINT pk_config_value_association PRIMARY KEY (config_id, config_value_id);


--
-- Name: config uq_config_config_name_id_version; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config
    ADD CONSTRAINT uq_config_config_name_id_version UNIQUE (config_name_id, version);


--
-- Name: config_name uq_config_name_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_name
    ADD CONSTRAINT uq_config_name_name UNIQUE (name);


--
-- Name: config_secret_key uq_config_secret_key_number_wrapping; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_secret_key
    ADD CONSTRAINT uq_config_secret_key_number_wrapping UNIQUE (number, wrapping);


--
-- Name: config_value uq_config_value_config_name_id_name_version; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_value
    ADD CONSTRAINT uq_config_value_config_name_id_name_version UNIQUE (config_name_id, name, version);


--
-- Name: ix_config_change_point_config_name_id_name_version; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_config_change_point_config_name_id_name_version ON public.config_change_point USING btree (config_name_id, name, version);


--
-- Name: ix_config_value_config_name_id_version; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_config_value_config_name_id_version ON public.config_value USING btree (config_name_id, version);


--
-- Name: config_change_point config_change_point_compaction_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_change_point_compaction_only BEFORE INSERT ON public.config_change_point FOR EACH ROW EXECUTE FUNCTION public.lamina_config_change_point_compaction_only();


--
-- Name: config_change_point config_change_point_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_change_point_insert_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.config_change_point FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config_cut config_cut_compaction_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_cut_compaction_only BEFORE INSERT ON public.config_cut FOR EACH ROW EXECUTE FUNCTION public.lamina_config_cut_compaction_only();


--
-- Name: config_cut config_cut_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_cut_insert_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.config_cut FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config config_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_insert_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.config FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config_name config_name_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_name_insert_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.config_name FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config_request config_request_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_request_insert_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.config_request FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config_secret_key config_secret_key_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_secret_key_insert_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.config_secret_key FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config_value_association config_value_association_compaction_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_value_association_compaction_only BEFORE DELETE ON public.config_value_association FOR EACH ROW EXECUTE FUNCTION public.lamina_config_value_association_compaction_only();


--
-- Name: config_value_association config_value_association_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_value_association_insert_only BEFORE UPDATE OR TRUNCATE ON public.config_value_association FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config_value config_value_compaction_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_value_compaction_only BEFORE DELETE ON public.config_value FOR EACH ROW EXECUTE FUNCTION public.lamina_config_value_compaction_only();


--
-- Name: config_value config_value_insert_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER config_value_insert_only BEFORE UPDATE OR TRUNCATE ON public.config_value FOR EACH STATEMENT EXECUTE FUNCTION public.lamina_insert_only();


--
-- Name: config fk_config_config_name_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config
    ADD CONSTRAINT fk_config_config_name_id FOREIGN KEY (config_name_id) REFERENCES public.config_name(id);


--
-- Name: config_cut fk_config_cut_config_name_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_cut
    ADD CONSTRAINT fk_config_cut_config_name_id FOREIGN KEY (config_name_id) REFERENCES public.config_name(id);


--
-- Name: config_request fk_config_request_config_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_request
    ADD CONSTRAINT fk_config_request_config_id FOREIGN KEY (config_id) REFERENCES public.config(id);


--
-- Name: config_value_association fk_config_value_association_config_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_value_association
    ADD CONSTRAINT fk_config_value_association_config_id FOREIGN KEY (config_id) REFERENCES public.config(id);


--
-- Name: config_value fk_config_value_config_name_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_value
    ADD CONSTRAINT fk_config_value_config_name_id FOREIGN KEY (config_name_id) REFERENCES public.config_name(id);


--
-- Name: config_value fk_config_value_originating_config_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.config_value
    ADD CONSTRAINT fk_config_value_originating_config_id FOREIGN KEY (originating_config_id) REFERENCES public.config(id);


--
-- PostgreSQL database dump complete
--

\unrestrict FosYomQLPDB2kXMR5loHgx3clfvlqAeS1AmA8TJcuu1BXupbYnGZMrRDdpauuBb

