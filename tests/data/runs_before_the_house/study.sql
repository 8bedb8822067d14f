BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'tuning');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'structpred','{"parameter lr": "from 0.01 to 0.09", "experiment": "{\"decoding\":{\"beam\":5,\"length_penalty\":0.0,\"rule\":\"argmax\",\"sources\":[],\"version\":1},\"model\":{\"dropout\":0.3,\"embedding\":4,\"hidden\":8,\"inputs\":{\"min_count\":1,\"sources\":[],\"type\":\"symbols\",\"version\":1},\"layers\":1,\"sources\":[],\"type\":\"lstm-tagger\",\"version\":1},\"objective\":{\"sources\":[],\"type\":\"maximum-likelihood\",\"version\":1},\"optimiser\":{\"beta1\":0.9,\"beta2\":0.999,\"epsilon\":1e-08,\"lr\":0.049999999999999996,\"schedule\":{\"sources\":[],\"type\":\"cosine\",\"version\":1,\"warmup\":0.02},\"sources\":[],\"type\":\"adam\",\"version\":1,\"weight_decay\":0.0},\"seed\":0,\"sources\":[],\"start\":null,\"task\":{\"alphabet\":4,\"held_out\":12,\"longest\":10,\"noise\":0.3,\"seed\":0,\"shortest\":4,\"size\":60,\"sources\":[],\"stay\":0.8,\"type\":\"hidden-markov\",\"version\":1},\"trainer\":{\"batch_tokens\":40,\"clip\":1.0,\"epochs\":12,\"patience\":null,\"precision\":\"fp32\",\"sources\":[],\"version\":2},\"version\":1}", "seeds": "100", "metric": "ACC, higher is better", "data": "665d103fa91e218ea11ab8db13bf6391cbda57ac53dda8b4f07ad8fc8f3c8dfa"}');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,3.11688311688311685547e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,5.45454545454545467473e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,3,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,4,5.32467532467532436149e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,5,5.58441558441558427716e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,6,5.84415584415584419284e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,1,7,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,1,8,5.58441558441558427716e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,1,9,5.58441558441558427716e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,1,10,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,1,11,5.84415584415584419284e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,1,12,5.84415584415584419284e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,2,1,5.06493506493506515661e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,2,2,5.97402597402597379527e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,2,3,5.84415584415584419284e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,2,4,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,2,5,5.58441558441558427716e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,2,6,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,2,7,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,2,8,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(21,2,9,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(22,2,10,5.84415584415584419284e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(23,2,11,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(24,2,12,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(25,3,1,5.45454545454545467473e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(26,3,2,6.10389610389610410851e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(27,3,3,5.58441558441558427716e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(28,3,4,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(29,3,5,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(30,3,6,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(31,3,7,5.7142857142857145904e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(32,3,8,6.10389610389610410851e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(33,3,9,5.97402597402597379527e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(34,3,10,5.97402597402597379527e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(35,3,11,5.97402597402597379527e+01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(36,3,12,5.97402597402597379527e+01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'lr',0.01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.09, "log": false}}');
INSERT INTO "trial_params" VALUES(2,2,'lr',0.05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.09, "log": false}}');
INSERT INTO "trial_params" VALUES(3,3,'lr',0.09,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 0.09, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"lr": 0.01}');
INSERT INTO "trial_system_attributes" VALUES(2,2,'fixed_params','{"lr": 0.05}');
INSERT INTO "trial_system_attributes" VALUES(3,3,'fixed_params','{"lr": 0.09}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'slot','0');
INSERT INTO "trial_user_attributes" VALUES(2,2,'slot','1');
INSERT INTO "trial_user_attributes" VALUES(3,3,'slot','2');
INSERT INTO "trial_user_attributes" VALUES(4,1,'lease','{"place": "317e6a85-b2bf-44ea-a360-23180fd6507a pid:[4026531836]", "pid": 21837, "born": "3058371", "beat": 1, "at": 1795707513.98906}');
INSERT INTO "trial_user_attributes" VALUES(5,1,'run','"0fddad5c0f96683a"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'scores','{"100": 58.44155844155844}');
INSERT INTO "trial_user_attributes" VALUES(7,2,'lease','{"place": "317e6a85-b2bf-44ea-a360-23180fd6507a pid:[4026531836]", "pid": 21837, "born": "3058371", "beat": 1, "at": 1795707514.067175}');
INSERT INTO "trial_user_attributes" VALUES(8,2,'run','"98f71575a90c9c3b"');
INSERT INTO "trial_user_attributes" VALUES(9,2,'scores','{"100": 59.74025974025974}');
INSERT INTO "trial_user_attributes" VALUES(10,3,'lease','{"place": "317e6a85-b2bf-44ea-a360-23180fd6507a pid:[4026531836]", "pid": 21837, "born": "3058371", "beat": 1, "at": 1795707514.1318145}');
INSERT INTO "trial_user_attributes" VALUES(11,3,'run','"88aeffeb8ed562bb"');
INSERT INTO "trial_user_attributes" VALUES(12,3,'scores','{"100": 61.03896103896104}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,5.84415584415584419284e+01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,5.97402597402597379527e+01,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,6.10389610389610410851e+01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 15:38:33.977630','2026-11-26 15:38:34.035206');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 15:38:34.059160','2026-11-26 15:38:34.106363');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-26 15:38:34.125648','2026-11-26 15:38:34.176827');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
