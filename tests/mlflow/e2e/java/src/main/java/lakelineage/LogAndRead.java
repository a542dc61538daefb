package lakelineage;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.mlflow.api.proto.ModelRegistry.ModelVersion;
import org.mlflow.api.proto.Service.CreateExperiment;
import org.mlflow.api.proto.Service.CreateRun;
import org.mlflow.api.proto.Service.ExperimentTag;
import org.mlflow.api.proto.Service.Metric;
import org.mlflow.api.proto.Service.Param;
import org.mlflow.api.proto.Service.Run;
import org.mlflow.api.proto.Service.RunStatus;
import org.mlflow.api.proto.Service.RunTag;
import org.mlflow.api.proto.Service.ViewType;
import org.mlflow.tracking.MlflowClient;
import org.mlflow.tracking.MlflowHttpException;
import org.mlflow.tracking.RunsPage;

/** Logs through MLflow's official client, reads it all back, and prints the run's id: {@code LogAndRead URI NAME}. */
public final class LogAndRead {
  private LogAndRead() {}

  public static void main(String[] args) {
    try (MlflowClient client = new MlflowClient(args[0])) {
      String experimentId = experiment(client, args[1]);
      String runId = log(client, experimentId);
      readBack(client, runId);
      search(client, experimentId, runId);
      refusals(client, args[1], runId);
      lives(client, experimentId, runId);
      register(client, args[1], runId);
      System.out.println(runId);
    }
  }

  private static String experiment(MlflowClient client, String name) {
    ExperimentTag tag = ExperimentTag.newBuilder().setKey("language").setValue("Java").build();
    CreateExperiment asked = CreateExperiment.newBuilder().setName(name).addTags(tag).build();
    String id = client.createExperiment(asked);
    same(client.getExperimentByName(name).orElseThrow().getExperimentId(), id);
    same(client.getExperiment(id).getTags(0).getValue(), "Java");
    client.setExperimentTag(id, "state", "begun");
    same(client.searchExperiments("name = '" + name + "'").getItems().size(), 1);
    return id;
  }

  private static String log(MlflowClient client, String experimentId) {
    CreateRun asked =
        CreateRun.newBuilder().setExperimentId(experimentId).setRunName("from Java").setStartTime(1_000).build();
    String runId = client.createRun(asked).getRunId();
    client.logParam(runId, "alpha", "0.1");
    client.logMetric(runId, "loss", 1.0, 10, 0);
    client.logMetric(runId, "loss", 0.5, 20, 1);
    client.setTag(runId, "team", "blau & grün");
    client.setTag(runId, "passing", "away");
    client.deleteTag(runId, "passing");
    List<Metric> metrics = new ArrayList<>();
    List<Param> params = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      metrics.add(Metric.newBuilder().setKey("m" + i).setValue(i).setTimestamp(30).setStep(0).build());
      params.add(Param.newBuilder().setKey("p" + i).setValue("v" + i).build());
    }
    client.logBatch(runId, metrics, params, List.of(RunTag.newBuilder().setKey("batch").setValue("yes").build()));
    client.setTerminated(runId, RunStatus.FINISHED, 5_000);
    return runId;
  }

  private static void readBack(MlflowClient client, String runId) {
    Run run = client.getRun(runId);
    same(run.getInfo().getStatus(), RunStatus.FINISHED);
    same(run.getInfo().getEndTime(), 5_000L);
    Map<String, Double> metrics = new TreeMap<>();
    run.getData().getMetricsList().forEach(m -> metrics.put(m.getKey(), m.getValue()));
    same(metrics.size(), 101);
    same(metrics.get("loss"), 0.5);
    same(metrics.get("m99"), 99.0);
    Map<String, String> params =
        run.getData().getParamsList().stream().collect(Collectors.toMap(Param::getKey, Param::getValue));
    same(params.size(), 101);
    same(params.get("p7"), "v7");
    Map<String, String> tags =
        run.getData().getTagsList().stream().collect(Collectors.toMap(RunTag::getKey, RunTag::getValue));
    same(tags.get("team"), "blau & grün");
    same(tags.get("batch"), "yes");
    same(tags.get("mlflow.runName"), "from Java");
    same(tags.containsKey("passing"), false);
    List<Double> history =
        client.getMetricHistory(runId, "loss").stream().map(Metric::getValue).collect(Collectors.toList());
    same(history, List.of(1.0, 0.5));
  }

  private static void search(MlflowClient client, String experimentId, String runId) {
    client.createRun(experimentId);
    List<String> where = List.of(experimentId);
    String filter = "metrics.loss < 0.6 and params.alpha = '0.1'";
    List<Run> found = client.searchRuns(where, filter, ViewType.ACTIVE_ONLY, 10).getItems();
    same(found.stream().map(run -> run.getInfo().getRunId()).collect(Collectors.toList()), List.of(runId));
    RunsPage page = client.searchRuns(where, "", ViewType.ACTIVE_ONLY, 1, List.of("metrics.loss ASC"));
    same(page.getItems().get(0).getInfo().getRunId(), runId);
    same(page.hasNextPage(), true);
    same(((RunsPage) page.getNextPage()).getItems().size(), 1);
  }

  private static void refusals(MlflowClient client, String name, String runId) {
    refused(400, "RESOURCE_ALREADY_EXISTS", () -> client.createExperiment(name));
    refused(400, "INVALID_PARAMETER_VALUE", () -> client.logParam(runId, "alpha", "0.2"));
    refused(404, "RESOURCE_DOES_NOT_EXIST", () -> client.getRun("0".repeat(32)));
  }

  private static void lives(MlflowClient client, String experimentId, String runId) {
    client.deleteRun(runId);
    same(client.getRun(runId).getInfo().getLifecycleStage(), "deleted");
    client.restoreRun(runId);
    client.renameExperiment(experimentId, client.getExperiment(experimentId).getName() + " (renamed)");
    client.deleteExperiment(experimentId);
    same(client.getExperiment(experimentId).getLifecycleStage(), "deleted");
    client.restoreExperiment(experimentId);
    same(client.getRun(runId).getInfo().getLifecycleStage(), "active");
  }

  private static void register(MlflowClient client, String name, String runId) {
    client.sendPost("registered-models/create", "{\"name\": \"" + name + "\"}");
    String source = client.getRun(runId).getInfo().getArtifactUri() + "/model";
    for (int version = 1; version <= 2; version++) {
      client.sendPost(
          "model-versions/create",
          "{\"name\": \"" + name + "\", \"source\": \"" + source + "\", \"run_id\": \"" + runId + "\"}");
    }
    client.sendPost(
        "model-versions/transition-stage",
        "{\"name\": \"" + name + "\", \"version\": \"1\", \"stage\": \"Production\"}");
    ModelVersion stored = client.getModelVersion(name, "1");
    same(stored.getRunId(), runId);
    same(stored.getCurrentStage(), "Production");
    same(client.getModelVersionDownloadUri(name, "2"), source);
    same(client.getRegisteredModel(name).getLatestVersionsCount(), 2);
    same(client.getLatestVersions(name, List.of("Production")).get(0).getVersion(), "1");
    same(client.searchModelVersions("name = '" + name + "'").getItems().size(), 2);
  }

  private static void refused(int status, String code, Runnable call) {
    try {
      call.run();
    } catch (MlflowHttpException refusal) {
      same(refusal.getStatusCode(), status);
      same(refusal.getBodyMessage().contains(code), true);
      return;
    }
    throw new AssertionError("not refused with " + code);
  }

  private static void same(Object got, Object wanted) {
    if (!wanted.equals(got)) {
      throw new AssertionError("wanted " + wanted + ", got " + got);
    }
  }
}
