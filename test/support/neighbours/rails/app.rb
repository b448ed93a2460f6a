# A Rails app in one file, with the middleware that Rails has by default. It answers with what it believes of a request.
# Usage: ruby app.rb <port>
require 'action_controller/railtie'
require 'rack/handler/webrick'

class Neighbour < Rails::Application
  config.eager_load = false
  config.logger = Logger.new(nil)
  config.secret_key_base = 'x' * 64
  config.hosts.clear
end

class BeliefsController < ActionController::Base
  def show
    render json: {
      section: params[:section], method: request.request_method, path: request.path, prefix: request.script_name,
      scheme: request.scheme, host: request.host_with_port, client: request.remote_ip,
      user: request.get_header('HTTP_REMOTE_USER') || ''
    }
  end
end

Neighbour.initialize!
Neighbour.routes.draw do
  %w[admin private].each do |section|
    match "/#{section}", to: 'beliefs#show', via: :all, defaults: { section: section }
    match "/#{section}/*rest", to: 'beliefs#show', via: :all, defaults: { section: section }
  end
  match '/', to: 'beliefs#show', via: :all, defaults: { section: 'elsewhere' }
  match '/*rest', to: 'beliefs#show', via: :all, defaults: { section: 'elsewhere' }
end

log = WEBrick::Log.new(nil, WEBrick::Log::FATAL)
Rack::Handler::WEBrick.run(Neighbour, Host: '127.0.0.1', Port: ARGV.fetch(0).to_i, AccessLog: [], Logger: log)
